"""What a silo says of its delta (the header) and what the aggregator answers (the receipt). Values only."""

import enum
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

MAX_METRICS = 64
"""Most metrics of one header."""

METRIC_NAME_PATTERN = re.compile(r"[a-z0-9_.]{1,64}")
"""What a metric's name matches, whole: no path is one."""

EPSILON_METRIC = "privacy_epsilon"
"""What a silo has spent of its privacy budget, at the plan's delta; demanded where a plan has privacy."""


class Encoding(enum.StrEnum):
    """How the values of a delta travel; the aggregate is float32 whatever the encoding."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    TOP_K = "top_k"
    RING32 = "ring32"
    """Masked words of secure aggregation: nobody can decode a single delta."""


READABLE = (Encoding.FP32, Encoding.BF16, Encoding.FP16, Encoding.INT8, Encoding.TOP_K)
"""Those whose bytes give a delta's values."""


@dataclass(frozen=True, slots=True)
class ContributionHeader:
    """Everything about a delta but its bytes; fields as in `protos/isthmus/v1/projector.proto`.

    Digests are raw 32-byte SHA-256. Nonce and signature are empty until the SDK signs it (`isthmus.signatures`).
    Transcript and seed digest are those of a masked delta (`isthmus.secure_aggregation`), else empty.
    """

    federation: str
    round: int
    base_digest: bytes
    spec_fingerprint: bytes
    payload_digest: bytes
    payload_size_bytes: int
    num_examples: int
    encoding: Encoding
    metrics: dict[str, float] = field(default_factory=dict)
    nonce: bytes = b""
    signature: bytes = b""
    transcript: bytes = b""
    seed_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The aggregator's word that a contribution is durable and counted.

    `round` is the round that it was trained from. `counted_in` is the round whose roster holds, or will hold, it: the
    same, or in buffered mode a later one.
    """

    federation: str
    round: int
    silo: str
    payload_digest: bytes
    payload_size_bytes: int
    num_examples: int
    l2_norm: float
    admitted_at: datetime
    counted_in: int
    signature: bytes = b""


def push_id(federation: str, round_number: int, *, silo: str, payload_digest: bytes) -> str:
    """Names one push, the same at every replica and after every restart: 64 hex digits.

    The parts are joined by a newline, which no name may hold, so no two pushes share an id.
    """
    text = f"{federation}\n{round_number}\n{silo}\n{payload_digest.hex()}"
    return hashlib.sha256(text.encode()).hexdigest()
