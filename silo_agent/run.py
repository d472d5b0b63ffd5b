"""Puts an agent together from its configuration: state folder, data, trainer, connection; and says how it ended."""

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from isthmus.client import SiloClient
from isthmus.credentials import load_credentials, save_credentials
from isthmus.doctor.examining import explained
from isthmus.enrolling import enrol
from isthmus.errors import ConfigInvalid, IsthmusError
from isthmus.feedback import ErrorFeedback
from isthmus.invitation import parse_invitation
from isthmus.logs import Event, log_event
from isthmus.secure_aggregation.session import Demands
from silo_agent.agent import Agent, Ending
from silo_agent.believed import Believed
from silo_agent.config import SiloConfig
from silo_agent.data import Samples, load_samples
from silo_agent.held_out import Parts, split
from silo_agent.outbox import Outbox
from silo_agent.privacy_budget import Budget
from silo_agent.status_file import Phase, StatusFile, peak_rss_bytes
from silo_agent.trainer import Surroundings, Trainer, build_trainer

LOG = logging.getLogger(__name__)

_PHASES = {Ending.FINISHED: Phase.FINISHED, Ending.EXHAUSTED: Phase.EXHAUSTED, Ending.SPENT: Phase.EXHAUSTED}

PATIENCE_SECONDS = 15.0
"""How long the client goes on by itself before the agent says that it waits, and then goes on."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Where the agent keeps what must survive it, and who may use it."""

    folder: Path

    def outbox_of(self, federation: str) -> Path:
        """The outbox of one federation: another federation's deltas never meet this one."""
        return self.folder / federation / "outbox"

    def feedback_of(self, federation: str) -> Path:
        """What the encoding lost of one federation's deltas."""
        return self.folder / federation / "feedback"

    def believed_of(self, federation: str) -> Path:
        """What is believed of one federation."""
        return self.folder / federation / "believed"

    def privacy_of(self, federation: str) -> Path:
        """What of the silo's privacy is spent in one federation."""
        return self.folder / federation / "privacy.json"

    def masks_of(self, federation: str) -> Path:
        """What secure aggregation must not forget in one federation."""
        return self.folder / federation / "masks"

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Holds the folder for this process, unless another one does; whether it is held. A death lets go of it.

        Raises:
            ConfigInvalid: The folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise ConfigInvalid(f"The state folder {self.folder} cannot be written: {error.strerror}.") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def run_agent(config: SiloConfig) -> Ending:
    """Takes part in the federation until it is finished.

    Raises:
        IsthmusError: What stopped the agent, in words for its operator; the status file says the same.
    """
    state = StateFolder(config.state)
    with state.held() as held:
        if not held:
            raise ConfigInvalid(
                f"Another agent uses the state folder {config.state}. Stop it, or name another folder in `state`."
            )
        status = StatusFile(
            config.state / "status.json",
            now=lambda: datetime.now(UTC),
            silo=config.silo,
            federation=config.federation,
        )
        log_event(LOG, Event.AGENT_STARTED, silo=config.silo, federation=config.federation)
        try:
            ending = _take_part(config, state, status)
        except KeyboardInterrupt:
            status.enter(Phase.STOPPED, words="stopped from outside")
            log_event(LOG, Event.AGENT_STOPPED, words="stopped from outside", peak_rss_bytes=peak_rss_bytes())
            raise
        except BaseException as error:
            words = str(error) if isinstance(error, IsthmusError) else f"{type(error).__name__}: see the log"
            status.enter(Phase.FAILED, words=words)
            why = {"reason": error.reason, "details": error.details} if isinstance(error, IsthmusError) else {}
            log_event(LOG, Event.AGENT_STOPPED, logging.ERROR, words=words, **why, peak_rss_bytes=peak_rss_bytes())
            raise
        status.enter(_PHASES[ending], words=ending.value)
        log_event(LOG, Event.AGENT_STOPPED, words=ending.value, peak_rss_bytes=peak_rss_bytes())
        return ending


def trainer_of(config: SiloConfig, parts: Parts) -> Trainer:
    """The configuration's trainer over these samples.

    Raises:
        ConfigInvalid: A package, model file or folder is missing, or an option is wrong.
    """
    surroundings = Surroundings(
        silo=config.silo,
        samples=parts.trained,
        cache=config.cache_folder,
        device=config.compute.device,
        max_pixels=config.data.max_pixels,
        held_out=parts.held_out,
        max_held_out=config.data.max_held_out,
    )
    return build_trainer(config.trainer, surroundings, folder=config.folder)


def _take_part(config: SiloConfig, state: StateFolder, status: StatusFile) -> Ending:
    _enrol_if_invited(config)
    credentials = load_credentials(config.credentials)
    if config.compute.threads:
        torch.set_num_threads(config.compute.threads)
    samples = load_samples(config.data, cache=config.cache_folder)
    _report_data(samples, config.state / "skipped.jsonl")
    parts = split(samples, share=config.data.held_out)
    status.tell(samples=len(samples.items), skipped=len(samples.skipped))
    with SiloClient(
        config.aggregator,
        federation=config.federation,
        credentials=config.credentials,
        patience_seconds=PATIENCE_SECONDS,
        progress=status.moved,
        secrets=state.masks_of(config.federation),
    ) as hub:
        hub.masked.demands = Demands(config.policy.min_roster, config.policy.members)
        agent = Agent(
            hub,
            trainer_of(config, parts),
            Outbox(state.outbox_of(config.federation)),
            ErrorFeedback(state.feedback_of(config.federation)),
            status,
            Budget(state.privacy_of(config.federation), num_samples=len(parts.trained.items)),
            metrics={"samples": len(samples.items), "samples_skipped": len(samples.skipped)},
            silo=credentials.silo,
            believed=Believed(state.believed_of(config.federation), config.policy),
            explain=partial(
                explained,
                aggregator=config.aggregator,
                credentials=config.credentials,
                federation=config.federation,
            ),
        )
        return agent.run()


def _enrol_if_invited(config: SiloConfig) -> None:
    """Redeems the invitation where there are no credentials yet; the keys are made here and written here alone."""
    if config.invitation is None or config.credentials.exists():
        return
    try:
        text = config.invitation.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            f"There are no credentials at {config.credentials} yet, and the invitation {config.invitation} cannot be "
            f"read: {error}. Ask the operator for one (`isthmus silo invite`)."
        ) from error
    credentials = enrol(parse_invitation(text))
    save_credentials(config.credentials, credentials.pem)
    log_event(LOG, Event.AGENT_ENROLLED, silo=config.silo, spiffe_id=credentials.spiffe_id)


def _report_data(samples: Samples, file: Path) -> None:
    """Counts go to the log, names to a file that stays with the silo's other state."""
    level = logging.WARNING if samples.skipped else logging.INFO
    log_event(LOG, Event.DATA_READ, level, samples=len(samples.items), skipped=samples.flaws)
    rows = [{"row": row.row, "picture": row.name, "why": row.flaw.value} for row in samples.skipped]
    try:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    except OSError as error:
        raise ConfigInvalid(f"{file} cannot be written: {error.strerror}. Free space in the state folder.") from error
