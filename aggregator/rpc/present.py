"""A federation's present, read from the ledger in one go: what silos and operators are told of the open round."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from aggregator import masking
from aggregator.advance import pending, round_of, state_of, view_of
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing
from aggregator.ledger.records import FederationRecord
from aggregator.masked_rounds import Decide, FixKeys
from aggregator.rounds import Cut, RoundView, Wait, clock, deadline, decide
from isthmus.federation import FederationState
from isthmus.manifest import ProjectorManifest


@dataclass(frozen=True, slots=True)
class Present:
    """Where a federation stands.

    Attributes:
        record: The federation as it was created.
        state: Finished also when all rounds are done.
        round: The open one; after the last, the number of rounds + 1.
        base: Manifest of the projector that the round starts from.
        view: The open round; after the last one, empty.
        listed: What its cut would take: silo and round trained from, sorted.
        closing: The marker that the round is being cut; None while it is open.
        waiting_for: What the round waits for, in words.
        overdue: Its deadline has passed without the quorum.
    """

    record: FederationRecord
    state: FederationState
    round: int
    base: ProjectorManifest
    view: RoundView
    listed: tuple[tuple[str, int], ...]
    closing: Closing | None
    waiting_for: str
    overdue: bool

    @property
    def deadline(self) -> datetime | None:
        """When the open round may be cut with the quorum; None when none is running."""
        if self.state is not FederationState.RUNNING:
            return None
        return deadline(self.view, self.record.federation.participation)


def present_of(ledger: Ledger, federation: str, *, now: datetime) -> Present:
    """The federation's present.

    Raises:
        FederationUnknown: There is none of that name.
    """
    record = ledger.federation(federation)
    number = round_of(ledger, federation)
    state = state_of(ledger, federation)
    listed = tuple(pending(ledger, federation, number))
    view = view_of(ledger, federation, number, listed=listed)
    closing = ledger.closing(federation, number)
    decision = _next(ledger, record, view, now=now)
    waits = state is FederationState.RUNNING and closing is None
    return Present(
        record=record,
        state=state,
        round=number,
        base=ledger.manifest(federation, number - 1),
        view=view,
        listed=listed,
        closing=closing,
        waiting_for=_waiting_for(record, view, closing, state=state, decision=decision),
        overdue=waits and isinstance(decision, Wait) and decision.overdue,
    )


def _next(ledger: Ledger, record: FederationRecord, view: RoundView, *, now: datetime) -> Wait | Cut:
    """What the round waits for; with secure aggregation what is next of its phases, as a wait for it."""
    federation = record.federation
    if federation.secure_aggregation is None:
        return decide(view, federation.participation, now=now)
    match masking.next_of(ledger, federation.name, view, policy=federation.secure_aggregation, now=now):
        case FixKeys(reason=reason):
            return Wait(f"The key roster of round {view.number} is about to be fixed because {reason}.", None)
        case Decide(why=why):
            return Wait(f"Round {view.number} goes on at once because {why.reason}.", None)
        case decision:
            return decision


def _waiting_for(
    record: FederationRecord,
    view: RoundView,
    closing: Closing | None,
    *,
    state: FederationState,
    decision: Wait | Cut,
) -> str:
    if closing is not None:  # a cut that began is brought to its end, whatever the operator asked for since
        return f"Round {view.number} is being cut since {clock(closing.cut_at)} because {closing.reason}."
    if state is FederationState.FINISHED:
        return f"Federation {record.federation.name} is finished."
    if state is FederationState.PAUSED:
        return (
            f"The operator paused federation {record.federation.name}; round {view.number} goes on when it is resumed."
        )
    if isinstance(decision, Wait):
        return decision.reason
    return f"Round {view.number} is about to be cut because {decision.reason}."


@dataclass(slots=True)
class _Look:
    """The last look at one federation; its lock keeps callers from looking at the same time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    facts: tuple[object, ...] = ()
    present: Present | None = None
    seen_at: float = 0.0


class Presents:
    """One present for all who ask within a while: a crowd that learns of a round must not list it once each.

    Round, state, deadline and closing are read for every caller. What may be as old as that while is who contributed,
    and with it what is waited for, in words.

    Args:
        ledger: What is looked at.
        seconds: How old a look may be.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, ledger: Ledger, *, seconds: float, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looks: dict[str, _Look] = {}

    def of(self, federation: str, *, now: datetime) -> Present:
        """The federation's present.

        Raises:
            FederationUnknown: There is none of that name.
        """
        number = round_of(self._ledger, federation)
        facts = (
            number,
            state_of(self._ledger, federation),
            self._ledger.resumed_at(federation),
            self._ledger.closing(federation, number),
        )
        look = self._look(federation)
        with look.lock:
            if look.present is None or look.facts != facts or self._monotonic() - look.seen_at >= self._seconds:
                look.present, look.facts = present_of(self._ledger, federation, now=now), facts
                look.seen_at = self._monotonic()
            return look.present

    def _look(self, federation: str) -> _Look:
        """The look at a federation; those at others go when they are too old to be of use."""
        with self._lock:
            since = self._monotonic() - self._seconds
            for name in [name for name, look in self._looks.items() if look.present and look.seen_at < since]:
                if name != federation:
                    del self._looks[name]
            return self._looks.setdefault(federation, _Look())
