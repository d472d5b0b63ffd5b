"""The loop that advances every federation: the one place of the service that acts without being called."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from aggregator.advance import Finished, Outcome, Published, Waiting, advance
from aggregator.gate import told_of
from aggregator.ledger import Ledger
from aggregator.ledger.round_records import record_rounds
from aggregator.metrics.meters import Meters
from aggregator.publication import Combine, in_process
from aggregator.round_traces import round_span
from isthmus.errors import InvariantBroken, IsthmusError, StoreUnavailable
from isthmus.logs import Event, log_event
from isthmus.manifest import ProjectorManifest

_LOG = logging.getLogger(__name__)


class Advancing:
    """Advances all federations in turn, every `interval_seconds` or when woken; what is over goes on record first.

    One federation's failure never stops another's rounds. What is logged is what changed: a reason to wait is told
    once, not at every turn; that a round's deadline passed without the quorum is told once more, as a warning.

    After a turn that found nothing to do it rests for as long as that took, also when woken: a crowd that pushes wakes
    it with every delta, and each look lists the whole round.

    Args:
        ledger: Where everything stands.
        clock: The instant now, UTC.
        interval_seconds: Between two turns.
        memory_budget_bytes: See `advance`.
        scratch: See `advance`.
        on_publish: Called after each global projector.
        on_store: Called with whether the store answers, whenever that changes.
        combine: See `advance`.
        meters: Told how long each step of a cut took, and whether the store answers.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime],
        interval_seconds: float,
        memory_budget_bytes: int,
        scratch: Path,
        on_publish: Callable[[], None],
        on_store: Callable[[bool], None],
        combine: Combine = in_process,
        meters: Meters,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._memory_budget_bytes = memory_budget_bytes
        self._scratch = scratch
        self._on_publish = on_publish
        self._on_store = on_store
        self._combine = combine
        self._meters = meters
        self._store_answers = True
        self._told: dict[str, str] = {}
        self._overdue: dict[str, int] = {}
        self._troubles: dict[str, str] = {}
        self._unrecorded: dict[str, str] = {}
        self._finished: set[str] = set()
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._looked_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="advance", daemon=True)

    def start(self) -> None:
        """Begins, in a thread of its own."""
        self._thread.start()

    def wake(self) -> None:
        """Takes the next turn now."""
        self._woken.set()

    def stop(self, *, timeout: float) -> None:
        """Ends after the step in progress; a step may also die anywhere, so `timeout` seconds are enough."""
        self._stopped.set()
        self._woken.set()
        self._thread.join(timeout)

    def trouble(self, federation: str) -> str:
        """Why the last step of a federation failed here; empty when it did not."""
        return self._troubles.get(federation, "")

    def turn(self) -> None:
        """Advances every federation as far as it goes now."""
        try:
            names = self._ledger.federations()
        except StoreUnavailable as error:
            self._tell_store(error)
            return
        self._tell_store(None)
        self._looked_seconds = 0.0
        for name in names:
            began = time.monotonic()
            while name not in self._finished and not self._stopped.is_set() and self._step(name):
                began = time.monotonic()
            self._looked_seconds += time.monotonic() - began

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.turn()
            except Exception:  # a bug must not end the loop
                _LOG.exception(Event.ADVANCE_FAILED.value)
            rest = min(self._looked_seconds, self._interval_seconds)
            self._stopped.wait(rest)
            self._woken.wait(self._interval_seconds - rest)
            self._woken.clear()

    def _step(self, name: str) -> bool:
        """One step of one federation, and what comes of it told; whether another may follow at once."""
        try:
            return self._advance(name)
        except Exception as bug:  # it must not stop other federations: the next turn may find another state
            self._troubles[name] = f"This replica failed with a {type(bug).__name__}; its log has the traceback."
            _LOG.exception(Event.ADVANCE_FAILED.value)
            return False

    def _advance(self, name: str) -> bool:
        try:
            unrecorded = self._record(name)
            reached: dict[str, float] = {"": time.time()}
            outcome = advance(
                self._ledger,
                name,
                now=self._clock(),
                memory_budget_bytes=self._memory_budget_bytes,
                scratch=self._scratch,
                combine=self._combine,
                at=lambda point: reached.update({point: time.time()}),
            )
        except IsthmusError as error:
            self._troubles[name] = str(error)
            if isinstance(error, StoreUnavailable):
                self._tell_store(error)
            else:
                self._tell(name, str(error), Event.ADVANCE_FAILED, level=logging.ERROR)
            return False
        if unrecorded:
            self._troubles[name] = unrecorded
        else:
            self._troubles.pop(name, None)
        if not isinstance(outcome, Published):
            return self._tell_outcome(name, outcome)
        self._meters.stepped(reached)
        with round_span(self._ledger, outcome, reached):
            return self._tell_outcome(name, outcome)

    def _record(self, name: str) -> str:
        """Puts on record what is over; why that cannot be, "" where it can: what is damaged there stops no round."""
        try:
            record_rounds(self._ledger, name)
        except InvariantBroken as error:
            if self._unrecorded.get(name) != str(error):
                log_event(_LOG, Event.ADVANCE_FAILED, logging.ERROR, federation=name, reason=str(error))
            self._unrecorded[name] = str(error)
            return str(error)
        self._unrecorded.pop(name, None)
        return ""

    def _tell_outcome(self, name: str, outcome: Outcome) -> bool:
        match outcome:
            case Waiting():
                self._tell_waiting(name, outcome)
            case Published():
                self._tell_published(name, outcome)
            case Finished() if outcome.round > self._ledger.federation(name).federation.rounds:
                self._finished.add(name)  # one that the operator finished may still have a cut to bring to its end
        return isinstance(outcome, Published)

    def _tell_waiting(self, name: str, waiting: Waiting) -> None:
        overdue = waiting.round if waiting.overdue else 0
        if overdue and self._overdue.get(name) != overdue:
            log_event(
                _LOG,
                Event.ROUND_OVERDUE,
                logging.WARNING,
                federation=name,
                round=waiting.round,
                reason=waiting.reason,
            )
        self._overdue[name] = overdue
        self._tell(name, waiting.reason, Event.ROUND_WAITING, round=waiting.round)

    def _tell_published(self, name: str, published: Published) -> None:
        manifest, roster = published.manifest, published.roster
        event = _event_of(manifest)
        log_event(
            _LOG,
            event,
            logging.INFO if event is Event.PROJECTOR_PUBLISHED else logging.WARNING,
            federation=name,
            round=manifest.number,
            sha256=manifest.digest,
            silos=list(manifest.silos),
            num_examples=manifest.num_examples,
            reason=f"{roster.reason} {told_of(manifest)}".rstrip(),
        )
        if published.unswept:
            log_event(
                _LOG,
                Event.SWEEP_FAILED,
                logging.WARNING,
                federation=name,
                round=manifest.number,
                reason=published.unswept,
            )
        self._on_publish()

    def _tell(self, name: str, text: str, event: Event, *, level: int = logging.INFO, **facts: object) -> None:
        if self._told.get(name) != text:
            self._told[name] = text
            log_event(_LOG, event, level, federation=name, reason=text, **facts)

    def _tell_store(self, error: StoreUnavailable | None) -> None:
        answers = error is None
        self._meters.store_answers(answers)
        if answers != self._store_answers:
            self._store_answers = answers
            level = logging.INFO if answers else logging.WARNING
            log_event(_LOG, Event.STORE_BACK if answers else Event.STORE_LOST, level, text=str(error or ""))
            self._on_store(answers)


def _event_of(manifest: ProjectorManifest) -> Event:
    if manifest.abandoned:
        return Event.ROUND_ABANDONED
    return Event.ROUND_REVERTED if manifest.reverted else Event.PROJECTOR_PUBLISHED
