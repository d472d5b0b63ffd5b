"""A federation's present, read from the ledger in one go: what silos and operators are told of the open round."""

from dataclasses import dataclass
from datetime import datetime

from aggregator.advance import pending, round_of, state_of, view_of
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing
from aggregator.ledger.records import FederationRecord
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
    decision = decide(view, record.federation.participation, now=now)
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
