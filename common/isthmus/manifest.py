"""What is known of one global projector: enough to recompute it from the bucket. Values only."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProjectorManifest:
    """One global projector; fields as in `protos/isthmus/v1/projector.proto`.

    Digests are raw 32-byte SHA-256, empty where there is nothing to name (projector 0 has no parent and no roster).
    `tolerance` is how far a recomputation may lie from the values, as a share of the largest of their tensor.
    A manifest is a pure function of stored bytes: `cut_at` is the instant in the roster, not that of publication.
    The signature is the aggregator's, made when a manifest is sent; empty in the store.
    `remark` says in words what is to be known of a sum of masked deltas, or why it was not opened; else it is empty.
    That of an abandoned round has the digest and the optimizer's state of the projector before it, and no rule. One
    that is `reverted` has those of an earlier one: the silos' evaluations flagged the projector before it.
    """

    number: int
    digest: bytes
    size_bytes: int
    cut_at: datetime
    parent_digest: bytes = b""
    roster_digest: bytes = b""
    rule: str = ""
    server_optimizer: str = ""
    optimizer_state_digest: bytes = b""
    optimizer_state_size_bytes: int = 0
    silos: tuple[str, ...] = ()
    num_examples: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    tolerance: float = 0.0
    abandoned: bool = False
    reverted: bool = False
    signature: bytes = b""
    remark: str = ""
