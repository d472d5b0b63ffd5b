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
    """One silo in the open round; `receipt` is None until it contributed, `last_refusal` empty when nothing was."""

    silo: str
    active: bool
    receipt: Receipt | None
    last_refusal: str
    num_contributions: int


@dataclass(frozen=True, slots=True)
class FederationOverview:
    """Everything about a federation's present; instants in UTC, `deadline` None when there is none."""

    summary: FederationSummary
    waiting_for: str
    opened_at: datetime
    deadline: datetime | None
    silos: tuple[SiloStatus, ...]
    spec: ProjectorSpec
    latest: ProjectorManifest
