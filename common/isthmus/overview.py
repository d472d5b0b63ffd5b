"""What an operator sees of a federation's present. Values only; fields as in `protos/isthmus/v1/admin.proto`."""

from dataclasses import dataclass
from datetime import datetime

from isthmus.contribution import Receipt
from isthmus.federation import FederationState
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec


@dataclass(frozen=True, slots=True)
class FederationSummary:
    """One line about a federation; `round` is the open one, `num_silos` leaves revoked ones out."""

    federation: str
    state: FederationState
    round: int
    num_rounds: int
    num_silos: int


@dataclass(frozen=True, slots=True)
class SiloStatus:
    """One silo in the open round.

    Attributes:
        receipt: None until it contributed.
        last_refusal: Why its last push was refused; empty when it was not.
        num_contributions: Over all rounds.
        waited_for_since: Since when the round waits for it; None when nobody does.
        quarantined: Its pushes are refused until the operator releases it.
    """

    silo: str
    active: bool
    receipt: Receipt | None
    last_refusal: str
    num_contributions: int
    waited_for_since: datetime | None
    quarantined: bool


@dataclass(frozen=True, slots=True)
class FederationOverview:
    """Everything about a federation's present; instants in UTC.

    Attributes:
        waiting_for: What the open round waits for, in words.
        opened_at: When it opened, or the federation was resumed, whichever is later.
        deadline: When it may be cut with the quorum; None when there is none.
        num_contributions: What a cut would take now.
        quorum: What it needs; in buffered mode what fills the buffer.
        max_staleness: Above 0 in buffered mode.
        overdue: The deadline has passed without the quorum.
        abandoned_rounds: The newest of them, in order.
        num_abandoned_rounds: All of them.
        reverted_rounds: The newest rounds whose silos flagged the projector they started from, in order.
        num_reverted_rounds: All of them.
        cut_began_at: Since when the round is being cut; None when it is not.
        trouble: Why the last step failed at the replica that answered; empty when it did not.
    """

    summary: FederationSummary
    waiting_for: str
    opened_at: datetime
    deadline: datetime | None
    silos: tuple[SiloStatus, ...]
    spec: ProjectorSpec
    latest: ProjectorManifest
    num_contributions: int
    quorum: int
    max_staleness: int
    overdue: bool
    abandoned_rounds: tuple[int, ...]
    num_abandoned_rounds: int
    reverted_rounds: tuple[int, ...]
    num_reverted_rounds: int
    cut_began_at: datetime | None
    trouble: str
