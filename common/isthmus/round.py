"""The open round as one silo sees it. Values only."""

from dataclasses import dataclass
from datetime import datetime

from isthmus.contribution import Encoding, Receipt
from isthmus.federation import FederationState, TrainingPlan
from isthmus.spec import ProjectorSpec


@dataclass(frozen=True, slots=True)
class Masks:
    """How deltas are masked: values are cut to plus and minus `clip`, and have at most `bits` in the sum."""

    clip: float
    bits: int


@dataclass(frozen=True, slots=True)
class Round:
    """What GetRound answers; fields as in `protos/isthmus/v1/aggregator.proto`.

    Attributes:
        number: From 1. The round starts from global projector number - 1.
        base_digest: SHA-256 of that projector's bytes.
        deadline: When the round may be cut without this silo, UTC by the aggregator's clock; None: no deadline.
        deadline_remaining_seconds: Seconds until then when the aggregator answered, at least 0.
        receipt: This silo's receipt in this round; None: it has not contributed.
        waiting_for: What the round is waiting for, in words.
        quorum: The least number of contributions that the round may be cut with.
        error_feedback: Whether a silo keeps what the encoding lost and adds it to its next delta.
        masks: How its delta is masked; None: it is not, and the aggregator sees it.
    """

    federation: str
    number: int
    state: FederationState
    base_digest: bytes
    base_size_bytes: int
    spec: ProjectorSpec
    encoding: Encoding
    plan: TrainingPlan
    num_rounds: int
    max_num_examples: int
    deadline: datetime | None = None
    deadline_remaining_seconds: float = 0.0
    receipt: Receipt | None = None
    waiting_for: str = ""
    quorum: int = 0
    error_feedback: bool = False
    masks: Masks | None = None


@dataclass(frozen=True, slots=True)
class PushStatus:
    """How much of a push is durable at the aggregator, from its start; the receipt once it is counted."""

    committed_bytes: int
    receipt: Receipt | None = None
