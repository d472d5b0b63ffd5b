"""The agent's loop: deliver what the outbox holds, join the open round, evaluate, train, keep the delta, deliver it.

Knows the order of these steps and what each error means for them; knows no model, no data and no gRPC. The process may
die at any line: a round whose delta is in the outbox is never trained again, and no delta leaves the outbox before its
receipt, unless the federation went on without it: then it is set aside.
"""

import enum
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from isthmus import evaluation
from isthmus.contribution import ContributionHeader, Receipt
from isthmus.errors import (
    AggregatorUnreachable,
    ComeBack,
    ContributionConflict,
    DeltaReplayed,
    FederationFinished,
    FederationPaused,
    IsthmusError,
    QuotaExceeded,
    RefusedDelta,
    RoundMoved,
    UploadBroken,
)
from isthmus.federation import FederationState
from isthmus.feedback import ErrorFeedback
from isthmus.logs import Event, log_event
from isthmus.manifest import ProjectorManifest
from isthmus.round import Round
from isthmus.secure_aggregation.contributing import masked_contribution
from isthmus.secure_aggregation.session import MaskedRounds
from isthmus.traces import silo_span
from silo_agent.believed import Believed
from silo_agent.outbox import Aside, Entry, Outbox
from silo_agent.privacy_budget import Budget
from silo_agent.status_file import Phase, StatusFile
from silo_agent.trainer import LocalResult, Step, Trainer

LOG = logging.getLogger(__name__)

LONG_POLL_SECONDS = 30.0
"""How long one question for a later round waits; short enough for every proxy."""

PAUSED_SECONDS = 5.0
"""How long the agent waits before it asks a paused federation, or one that lost its connection, again."""

SHORTEST_WAIT_SECONDS = 1.0
"""How long the agent waits at least, once the client's own patience is over."""

_MAX_DIGITS = 18
"""Of a round's number, so that it can be asked for."""


class Hub(Protocol):
    """What the agent needs of an aggregator; `isthmus.SiloClient` is one."""

    masked: MaskedRounds

    def round(self, *, after_round: int = 0, wait_seconds: float = 0.0) -> Round:
        """The open round, at once or when it is later than `after_round`."""
        ...

    def manifest(self, round: Round, number: int, /) -> ProjectorManifest:
        """The signed manifest of a global projector."""
        ...

    def pull(self, round: Round, /) -> dict[str, torch.Tensor]:
        """The global projector that the round starts from."""
        ...

    def sign(self, header: ContributionHeader, /) -> ContributionHeader:
        """The header as it is pushed: as it came where it is signed already."""
        ...

    def push_payload(self, header: ContributionHeader, payload: Path, /) -> Receipt:
        """Pushes an encoded delta; returns when it is durable and counted."""
        ...


class Ending(enum.StrEnum):
    """Why the agent has nothing more to do."""

    FINISHED = "the federation is finished"
    EXHAUSTED = "the plan is one-pass and every sample was used"
    SPENT = "one more round would exceed the plan's privacy budget"


@dataclass(slots=True)
class Agent:
    """One silo in one federation.

    Attributes:
        hub: The aggregator.
        trainer: Trains.
        outbox: Keeps deltas until they are counted.
        feedback: Keeps what the encoding lost of them.
        status: Told what goes on.
        budget: What the silo has spent of its privacy, for plans that ask for it.
        metrics: Go with every delta beside those of the training.
        sleep: Waits this many seconds.
        believed: What the silo saw of the federation before; None: an aggregator is taken as it comes.
        silo: What the federation calls this silo; for its spans alone.
        explain: Why nobody answers, in the words of an examination.
    """

    hub: Hub
    trainer: Trainer
    outbox: Outbox
    feedback: ErrorFeedback
    status: StatusFile
    budget: Budget
    metrics: Mapping[str, float] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep
    believed: Believed | None = None
    silo: str = ""
    explain: Callable[[AggregatorUnreachable], IsthmusError] = lambda error: error
    _seen: int = 0
    _waited_for: str = ""
    _judged: bool = False
    _owes_seed: bool = False

    def run(self) -> Ending:
        """Takes part until the federation is finished or the data is used up.

        Raises:
            RefusedDelta, DeltaReplayed: Admission refused the delta, or the silo's model does not fit; a refused delta
                is set aside in the outbox, and its round is trained anew when the agent is started again.
            IsthmusError: Anything that waiting does not mend: a credential, a name, a configuration, the disk.
        """
        while True:
            try:
                ending = self._advance()
            except (ComeBack, UploadBroken, FederationPaused) as error:
                self._wait_for(error)
                continue
            self._waited_for = ""
            if ending is not None:
                return ending

    def _advance(self) -> Ending | None:
        """One step: every delta delivered, then one question answered and perhaps one round trained."""
        entries = self.outbox.entries()
        if entries and not self._judged:
            self._judge(self.hub.round())  # before anything is sent
        for entry in entries:
            self._deliver(entry)
        waits = self._seen and not self._owes_seed  # the others wait for the seed of a vector that is in
        current = self.hub.round(after_round=self._seen, wait_seconds=LONG_POLL_SECONDS if waits else 0.0)
        self._judge(current)
        facts = {"round": current.number, "num_rounds": current.num_rounds}
        if current.state is FederationState.FINISHED:
            return Ending.FINISHED
        if current.state is FederationState.PAUSED:
            raise FederationPaused(f"The federation {current.federation} is paused by its operator.")
        masked = current.masks is not None and self.hub.masked.attend(current)
        self._owes_seed = False
        if masked or current.receipt is not None or current.number <= self._seen:
            self._saw(current.number)
            self.status.enter(Phase.WAITING, **facts, words=current.waiting_for)
            return None
        with silo_span("silo.round", current.federation, current.number, silo=self.silo):
            return self._take_part(current)

    def _judge(self, current: Round) -> None:
        if self.believed is not None:
            self.believed.judge(current, lambda number: self.hub.manifest(current, number))
        self._judged = True

    def _take_part(self, current: Round) -> Ending | None:
        self.status.enter(Phase.PULLING, round=current.number, num_rounds=current.num_rounds)
        self.trainer.require(current.spec, current.plan)
        if words := self.budget.refusal(current):
            log_event(LOG, Event.PRIVACY_SPENT, logging.WARNING, words=words)
            return Ending.SPENT
        base = self.hub.pull(current)
        if self.believed is not None:
            self.believed.accept(current, base)
        log_event(
            LOG,
            Event.PROJECTOR_PULLED,
            federation=current.federation,
            round=current.number,
            digest=current.base_digest,
            size_bytes=current.base_size_bytes,
        )
        held_out = self._evaluate(current, base)
        result = self._train(current, base)
        if result.num_examples == 0:
            return Ending.EXHAUSTED
        spent = self.budget.record(current)  # first: a delta that exists is on record
        self.feedback.recover(lambda number, digest: False)  # the outbox is empty: what was counted has been settled
        make = partial(masked_contribution, self.hub.masked) if current.masks else self.feedback.contribution_of
        try:
            header, payload = make(
                current,
                local=result.tensors,
                base=base,
                num_examples=min(result.num_examples, current.max_num_examples),
                metrics={**self.metrics, **held_out, **result.metrics, **spent},
            )
        except (RoundMoved, FederationFinished) as error:  # it goes on, or ended, without this silo
            log_event(LOG, Event.AGENT_WAITING, logging.WARNING, reason=error.reason, words=str(error))
            self._saw(current.number)
            return None
        self._deliver(self.outbox.put(header, payload, cursor=result.cursor))
        if current.masks:
            self.hub.masked.finish(current)
        return None

    def _evaluate(self, current: Round, base: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """How the pulled projector does on held-out samples, as metrics; none where that is nothing to report.

        A loss is a number about samples, so under privacy none is measured.
        """
        if current.plan.privacy is not None:
            return {}
        self.status.enter(Phase.EVALUATING, evaluated=0, to_evaluate=0)
        started = time.monotonic()

        def tell(done: int, total: int) -> None:
            self.status.tell(at_once=done == total, evaluated=done, to_evaluate=total)

        with silo_span("silo.evaluate", current.federation, current.number, silo=self.silo):
            found = self.trainer.evaluate(base, current.plan, tell=tell)
        if found is None:
            return {}
        metrics = {evaluation.LOSS: found.loss, evaluation.SAMPLES: float(found.num_samples)}
        flaw = evaluation.flaw(metrics)
        log_event(
            LOG,
            Event.PROJECTOR_EVALUATED,
            logging.WARNING if flaw else logging.INFO,
            federation=current.federation,
            round=current.number,
            projector=current.number - 1,
            loss=found.loss,
            num_samples=found.num_samples,
            seconds=round(time.monotonic() - started, 3),
            words=f"Not reported: {flaw}; a report is {evaluation.BOUNDS}." if flaw else "",
        )
        return {} if flaw else metrics

    def _train(self, current: Round, base: Mapping[str, torch.Tensor]) -> LocalResult:
        self.status.enter(Phase.TRAINING, step=0, num_steps=0)
        started = time.monotonic()

        def report(step: Step) -> None:
            last = step.number == step.num_steps
            trained = {"trained_round": current.number, "trained_loss": step.loss} if last else {}
            self.status.tell(at_once=last, step=step.number, num_steps=step.num_steps, loss=step.loss, **trained)

        with silo_span("silo.train", current.federation, current.number, silo=self.silo):
            result = self.trainer.train(
                base, current.plan, round_number=current.number, cursor=self.outbox.cursor, report=report
            )
        log_event(
            LOG,
            Event.ROUND_TRAINED,
            federation=current.federation,
            round=current.number,
            num_examples=result.num_examples,
            seconds=round(time.monotonic() - started, 3),
            metrics=result.metrics,
        )
        return result

    def _deliver(self, entry: Entry) -> None:
        """Pushes one delta; it leaves the outbox when it is counted, or can never be."""
        entry = self.outbox.keep_signed(entry, self.hub.sign(entry.header))
        header = entry.header
        self.status.enter(Phase.PUSHING, round=header.round)
        try:
            if header.transcript:
                self.hub.masked.release(header)
            receipt = self.hub.push_payload(header, entry.payload)
        except (RoundMoved, FederationFinished) as error:
            self._give_up(entry, Aside.LATE, error)
            # The round that is over may still be handed out until its projector is there: it is not trained again.
            self._saw(_current_round(error) - 1)
            return
        except QuotaExceeded as error:  # nothing is wrong with the delta, but this round takes no more of this silo
            self._give_up(entry, Aside.REFUSED, error)
            self._saw(header.round)
            return
        except (RefusedDelta, DeltaReplayed) as error:
            folder = self.outbox.set_aside(entry, Aside.REFUSED)
            words = f"{error} The delta is in {folder}. Start the agent again to train anew."
            raise type(error)(words, **error.details) from error
        except ContributionConflict as error:
            # This silo's samples of the round are counted, if by another delta: the cursor passes them all the same.
            self._give_up(entry, Aside.LATE, error, samples_used=True)
            self._saw(header.round)
            return
        self.feedback.settle(header)  # first: while the entry is there, all of this is done again
        self.outbox.settle(entry, receipt)
        self._saw(header.round)
        self._owes_seed = bool(header.transcript)
        self._log_delta(Event.DELTA_COUNTED, header, silo=receipt.silo, l2_norm=receipt.l2_norm)
        self.status.enter(Phase.WAITING)

    def _saw(self, round_number: int) -> None:
        """Rounds up to this one are over for this silo: the next question is for a later one."""
        self._seen = max(self._seen, round_number)

    def _give_up(self, entry: Entry, why: Aside, error: IsthmusError, *, samples_used: bool = False) -> None:
        folder = self.outbox.set_aside(entry, why, samples_used=samples_used)
        words = f"{error} The delta is kept in the folder {folder.name} of the outbox."
        self._log_delta(Event.DELTA_DROPPED, entry.header, level=logging.WARNING, words=words)

    def _log_delta(
        self, event: Event, header: ContributionHeader, *, level: int = logging.INFO, **facts: object
    ) -> None:
        about: dict[str, object] = {
            "federation": header.federation,
            "round": header.round,
            "digest": header.payload_digest,
            "size_bytes": header.payload_size_bytes,
            "num_examples": header.num_examples,
        }
        log_event(LOG, event, level, **about, **facts)

    def _wait_for(self, error: IsthmusError) -> None:
        if isinstance(error, AggregatorUnreachable):
            error = self.explain(error)
            if not isinstance(error, ComeBack):
                raise error
        self.status.enter(Phase.WAITING, words=str(error))
        found = error.details.get("check")  # what an examination says of it may hold the time of day
        why = f"{error.reason} {found} {error.details.get('measured')}" if found else str(error)
        if why != self._waited_for:
            log_event(LOG, Event.AGENT_WAITING, logging.WARNING, reason=error.reason, words=str(error))
        self._waited_for = why
        asked = error.retry_after_seconds if isinstance(error, ComeBack) else PAUSED_SECONDS
        self.sleep(max(asked, SHORTEST_WAIT_SECONDS))


def _current_round(error: IsthmusError) -> int:
    """The round that is open, as the aggregator says; 0 where what it says is no round's number."""
    said = error.details.get("currentRound", "")
    return int(said) if len(said) <= _MAX_DIGITS and said.isascii() and said.isdecimal() else 0
