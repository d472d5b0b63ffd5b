"""`silo_agent check`: everything that would keep the agent from taking part, each with what to do about it."""

import tempfile
from collections.abc import Callable, Iterator
from typing import TypeVar

from isthmus.client import SiloClient
from isthmus.doctor.examining import examine
from isthmus.doctor.findings import Finding, problem, well
from isthmus.errors import ConfigInvalid, IsthmusError
from silo_agent.config import SiloConfig
from silo_agent.data import load_samples
from silo_agent.held_out import Parts, split
from silo_agent.outbox import Aside, Outbox
from silo_agent.privacy_budget import Budget
from silo_agent.run import StateFolder, trainer_of
from silo_agent.trainer import Trainer

Thing = TypeVar("Thing")

PATIENCE_SECONDS = 5.0


def check(config: SiloConfig) -> Iterator[Finding]:
    """One finding per thing looked at, as soon as it is known. Changes nothing but caches."""
    yield well("configuration", f"Silo {config.silo} in federation {config.federation}.")
    yield _found("state", lambda: _state(config))[0]
    finding, parts = _found("data", lambda: _data(config))
    yield finding
    trainer = None
    if parts is not None:
        finding, trainer = _found("model", lambda: _trainer(config, parts))
        yield finding
    answered = False
    for finding in examine(config.aggregator, config.credentials, federation=config.federation):
        answered = answered or (finding.name == "federation" and finding.ok)
        yield finding
    if answered and trainer is not None and parts is not None:
        yield _found("projector", lambda: _fits(config, trainer, parts))[0]


def _found(name: str, look: Callable[[], tuple[str, Thing]]) -> tuple[Finding, Thing | None]:
    """The finding and what was looked for; None when there is a problem."""
    try:
        words, thing = look()
    except IsthmusError as error:
        return problem(name, str(error)), None
    return well(name, words), thing


def _state(config: SiloConfig) -> tuple[str, None]:
    """Whether the state folder can be written, and what waits in the outbox."""
    state = StateFolder(config.state)
    try:
        with state.held() as held:
            if not held:
                return "An agent is running here.", None
            outbox = Outbox(state.outbox_of(config.federation))
            entries = outbox.entries()
            with tempfile.TemporaryFile(dir=config.state) as file:
                file.write(b"0")
    except OSError as error:
        raise ConfigInvalid(f"The state folder {config.state} cannot be written: {error.strerror}.") from error
    rounds = ", ".join(str(entry.header.round) for entry in entries)
    waiting = f"The outbox holds the delta of round {rounds}; `run` pushes it first." if rounds else "Ready."
    aside = [f"{outbox.num_aside(why)} {why}" for why in Aside if outbox.num_aside(why)]
    return waiting + (f" Deltas set aside: {', '.join(aside)}; delete them when you like." if aside else ""), None


def _data(config: SiloConfig) -> tuple[str, Parts]:
    samples = load_samples(config.data, cache=config.cache_folder)
    parts = split(samples, share=config.data.held_out)
    told = f" Held out, and never trained on: {len(parts.held_out.items)}." if config.data.held_out else ""
    return samples.summary() + told, parts


def _trainer(config: SiloConfig, parts: Parts) -> tuple[str, Trainer]:
    return f"The trainer {config.trainer.name} is set up.", trainer_of(config, parts)


def _fits(config: SiloConfig, trainer: Trainer, parts: Parts) -> tuple[str, None]:
    """Whether the federation's projector fits the silo's model, and its plan the silo's privacy."""
    with SiloClient(
        config.aggregator,
        federation=config.federation,
        credentials=config.credentials,
        patience_seconds=PATIENCE_SECONDS,
    ) as hub:
        current = hub.round()
    trainer.require(current.spec, current.plan)
    spent = Budget(StateFolder(config.state).privacy_of(config.federation), num_samples=len(parts.trained.items))
    if words := spent.refusal(current):
        return words, None
    return f"The federation's projector fits: {current.spec.num_elements} values.", None
