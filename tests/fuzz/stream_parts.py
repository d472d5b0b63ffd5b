"""What the streams of the fuzz target are made of: payloads, headers that are wrong in one way, parts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from aggregator.ledger import Ledger
from isthmus.contribution import ContributionHeader, Encoding
from tests.fuzz.stream_service import FEDERATION
from tests.ledgers import INITIAL, signature
from tests.rosters import TINY, payload_bytes, values

_GOOD = payload_bytes(values("good", TINY.num_elements, scale=0.1), TINY)
PAYLOADS = (
    _GOOD,
    payload_bytes(values("other", TINY.num_elements, scale=0.1), TINY),
    payload_bytes(np.full(TINY.num_elements, np.nan, np.float32), TINY),
    payload_bytes(np.full(TINY.num_elements, 1e6, np.float32), TINY),
    _GOOD.replace(b"linear_1.bias", b"linear_1.bios"),
    payload_bytes(np.zeros(TINY.num_elements, np.float32), TINY),
    INITIAL,
)
"""Two that are admitted; one of NaN, one too large, one of another tensor, one of zeros, the projector itself."""


@dataclass(frozen=True, slots=True)
class Bend:
    """One thing that is wrong with a header.

    Attributes:
        change: The fields that differ.
        error: What it is refused with before a byte is read; "": it is taken.
        signs: Who signs the header; "": the silo itself.
        is_form: It is wrong whatever the round, so it is told before anything about the round is.
    """

    change: Callable[[ContributionHeader], dict[str, object]] = lambda header: {}
    error: str = ""
    signs: str = ""
    is_form: bool = False


def _set(error: str, *, is_form: bool = False, **fields: object) -> Bend:
    return Bend(lambda header: fields, error, is_form=is_form)


BENDS = (
    Bend(),
    Bend(lambda header: {"payload_size_bytes": header.payload_size_bytes - 1}),
    Bend(lambda header: {"payload_size_bytes": header.payload_size_bytes + 1}),
    Bend(lambda header: {"payload_digest": hashlib.sha256(PAYLOADS[1]).digest()}),
    Bend(lambda header: {"round": header.round + 1}, "BaseStale"),
    _set("HeaderInvalid", is_form=True, round=0),
    _set("BaseStale", base_digest=b"x" * 32),
    _set("SpecMismatch", spec_fingerprint=b"x" * 32),
    _set("PayloadMalformed", payload_size_bytes=0),
    _set("PayloadTooLarge", payload_size_bytes=2**40),
    _set("NumExamplesOutOfRange", num_examples=0),
    _set("HeaderInvalid", is_form=True, encoding=Encoding.BF16),
    _set("SignatureInvalid", nonce=b"x"),
    Bend(error="SignatureInvalid", signs="somebody else"),
    _set("FederationUnknown", federation="elsewhere"),
    _set("HeaderInvalid", metrics={"loss": float("nan")}),
    _set("HeaderInvalid", is_form=True, payload_digest=b"x"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """What a stream holds after its header: chunk, finish, odd, cut (the caller goes), end, or what comes between."""

    kind: str
    offset: int = 0
    data: bytes = b""


def header_of(payload: bytes, bend: Bend, ledger: Ledger, *, round_number: int, silo: str) -> ContributionHeader:
    """The header of a silo's push to a round, with one thing wrong, and signed."""
    honest = ContributionHeader(
        federation=FEDERATION,
        round=round_number,
        base_digest=ledger.manifest(FEDERATION, round_number - 1).digest,
        spec_fingerprint=TINY.fingerprint,
        payload_digest=hashlib.sha256(payload).digest(),
        payload_size_bytes=len(payload),
        num_examples=10,
        encoding=Encoding.FP32,
        metrics={"loss": 1.0},
        nonce=hashlib.sha256(payload).digest()[:16],
    )
    bent = replace(honest, **bend.change(honest))  # type: ignore[arg-type]
    return replace(bent, signature=signature(bent, silo=bend.signs or silo))
