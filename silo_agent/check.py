"""`silo_agent check`: everything that would keep the agent from taking part, each with what to do about it."""

import stat
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from isthmus.addresses import parse_address
from isthmus.client import SiloClient
from isthmus.credentials import Credentials, load_credentials
from isthmus.errors import AggregatorUnreachable, ConfigInvalid, FederationUnknown, IdentityInvalid, IsthmusError
from isthmus.round import Round
from silo_agent.config import SiloConfig
from silo_agent.data import Samples, load_samples
from silo_agent.outbox import Aside, Outbox
from silo_agent.reach import Finding, reach
from silo_agent.run import StateFolder, trainer_of
from silo_agent.trainer import Trainer

Thing = TypeVar("Thing")

PATIENCE_SECONDS = 5.0

TOLERATED_SKEW_SECONDS = 120.0
"""Nothing of the protocol depends on the silo's clock, but certificates and the logs of two sites do."""


def check(config: SiloConfig) -> Iterator[Finding]:
    """One finding per thing looked at, as soon as it is known. Changes nothing but caches."""
    yield Finding("configuration", True, f"Silo {config.silo} in federation {config.federation}.")
    yield _found("state", lambda: _state(config))[0]
    finding, samples = _found("data", lambda: _data(config))
    yield finding
    trainer = None
    if samples is not None:
        finding, trainer = _found("model", lambda: _trainer(config, samples))
        yield finding
    finding, credentials = _found("credentials", lambda: _credentials(config))
    yield finding
    if credentials is None:
        return
    address = parse_address(config.aggregator)
    num_unreached = 0
    for finding in reach(address, ca_pem=credentials.authorities_pem, now=datetime.now(UTC)):
        num_unreached += not finding.ok
        yield finding
    if num_unreached < len(address.endpoints):  # one replica is enough
        yield from _ask(config, trainer)


def _found(name: str, look: Callable[[], tuple[str, Thing]]) -> tuple[Finding, Thing | None]:
    """The finding and what was looked for; None when there is a problem."""
    try:
        words, thing = look()
    except IsthmusError as error:
        return Finding(name, False, str(error)), None
    return Finding(name, True, words), thing


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


def _data(config: SiloConfig) -> tuple[str, Samples]:
    samples = load_samples(config.data, cache=config.cache_folder)
    return samples.summary(), samples


def _trainer(config: SiloConfig, samples: Samples) -> tuple[str, Trainer]:
    return f"The trainer {config.trainer.name} is set up.", trainer_of(config, samples)


def _credentials(config: SiloConfig) -> tuple[str, Credentials]:
    credentials = load_credentials(config.credentials)
    others = config.credentials.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    hint = " Other users of this machine can read them: chmod 600." if others else ""
    return f"{config.credentials.name} holds a token.{hint}", credentials


def _ask(config: SiloConfig, trainer: Trainer | None) -> Iterator[Finding]:
    """What the aggregator says of this silo, and whether its projector fits the silo's model."""
    with SiloClient(
        config.aggregator,
        federation=config.federation,
        credentials=config.credentials,
        patience_seconds=PATIENCE_SECONDS,
    ) as hub:
        try:
            current = hub.round()
        except IsthmusError as error:
            yield Finding("federation", False, f"{error}{_ADVICE.get(type(error), '')}")
            return
    words = f"{current.federation} is {current.state.value}, round {current.number} of {current.num_rounds}."
    yield Finding("federation", True, words)
    yield _clock(current, now=datetime.now(UTC))
    if trainer is not None:
        yield _found("projector", lambda: _fits(trainer, current))[0]


_ADVICE: dict[type[IsthmusError], str] = {
    AggregatorUnreachable: " Something answers at this port, but no aggregator: is the port right?",
    IdentityInvalid: " Ask the operator for a new invitation.",
    FederationUnknown: " Correct `federation`, or ask the operator to invite this silo to it.",
}


def _clock(current: Round, *, now: datetime) -> Finding:
    """The silo's clock beside the aggregator's, known only while a round has a deadline."""
    if current.deadline is None:
        return Finding(
            "clock", True, f"This silo's clock says {now:%Y-%m-%d %H:%M:%S} UTC; the aggregator's is unknown."
        )
    ahead = (now - current.deadline).total_seconds() + current.deadline_remaining_seconds
    words = f"This silo's clock is {abs(ahead):.0f} s {'ahead of' if ahead >= 0 else 'behind'} the aggregator's."
    if abs(ahead) <= TOLERATED_SKEW_SECONDS or current.deadline_remaining_seconds <= 0:
        return Finding("clock", True, words)
    return Finding("clock", False, f"{words} Set it by a time server (NTP).")


def _fits(trainer: Trainer, current: Round) -> tuple[str, None]:
    trainer.require(current.spec, current.plan)
    return f"The federation's projector fits: {current.spec.num_elements} values.", None
