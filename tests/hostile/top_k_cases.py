"""Battery B28 to B30: top_k that no encoder writes, each with the check that must find it."""

import numpy as np

from isthmus.contribution import Encoding
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.hostile.forged import delta_of, payload_of

SPEC = ProjectorSpec((TensorSpec("a", "F32", (5, 8)), TensorSpec("b", "F32", ())))
"""Of a's 40 values three are kept, and the one of b."""

VALUES = (np.zeros((5, 8), np.float32), np.float32(0.5))
VALUES[0].flat[[3, 17, 39]] = 1.0, -2.0, 0.25

HONEST = delta_of(VALUES, SPEC, Encoding.TOP_K)
"""Entries of a at -16, -12 and -8 from the end, that of b at -4; of each its index, then its bfloat16."""

ENTRIES = {
    "a": {"dtype": "U16", "shape": [3, 2], "data_offsets": [0, 12]},
    "b": {"dtype": "U16", "shape": [1, 2], "data_offsets": [12, 16]},
}
DATA = HONEST[-16:]
FIRST, SECOND, THIRD, ONLY = 0, 4, 8, 12
"""Where an entry's index lies; its value lies two bytes further."""


def with_bytes(place: int, data: str) -> bytes:
    """The honest payload with other bytes, given as hex, at a place among the entries."""
    raw = bytes.fromhex(data)
    return HONEST[: len(HONEST) - 16 + place] + raw + HONEST[len(HONEST) - 16 + place + len(raw) :]


def entries(**changed: dict[str, object]) -> dict[str, object]:
    """The honest header's entries but for some fields."""
    return {name: {**entry, **changed.get(name, {})} for name, entry in ENTRIES.items()}


ENTRY_CASES: list[tuple[str, bytes, str]] = [
    ("B28-index just beyond its block", with_bytes(THIRD, "2800"), "INDEX_RANGE"),
    ("B28-index 65535", with_bytes(THIRD, "ffff"), "INDEX_RANGE"),
    ("B28-index 65535 first", with_bytes(FIRST, "ffff"), "INDEX_RANGE"),
    ("B28-second value of a scalar", with_bytes(ONLY, "0100"), "INDEX_RANGE"),
    ("B28-one index twice", with_bytes(SECOND, "0300"), "INDEX_ORDER"),
    ("B28-falling indices", with_bytes(SECOND, "0200"), "INDEX_ORDER"),
    ("B28-last index below", with_bytes(THIRD, "1000"), "INDEX_ORDER"),
    ("B29-minus zero", with_bytes(ONLY + 2, "0080"), "ENTRY_ZERO"),
    ("B29-minus zero at its place", with_bytes(FIRST, "00000080"), "ENTRY_ZERO"),
    ("B29-zero kept in place of one before it", with_bytes(FIRST + 2, "0000"), "ENTRY_ZERO"),
    ("B29-zero kept behind a gap", with_bytes(SECOND + 2, "0000"), "ENTRY_ZERO"),
]
"""Refused as PAYLOAD_MALFORMED."""

VALUE_CASES: list[tuple[str, bytes, str]] = [
    ("B29-NaN", with_bytes(FIRST + 2, "c07f"), "NONFINITE"),
    ("B29-signalling NaN", with_bytes(THIRD + 2, "817f"), "NONFINITE"),
    ("B29-infinity", with_bytes(SECOND + 2, "807f"), "NONFINITE"),
    ("B29-minus infinity as the last value", with_bytes(ONLY + 2, "80ff"), "NONFINITE"),
]
"""Refused as DELTA_NOT_FINITE."""

FORM_CASES: list[tuple[str, bytes, str]] = [
    ("B30-entries as I16", payload_of(entries(a={"dtype": "I16"}), DATA), "SCHEMA_DTYPE"),
    ("B30-entries as U32", payload_of(entries(a={"dtype": "U32", "shape": [3]}), DATA), "SCHEMA_DTYPE"),
    ("B30-values alone", payload_of(entries(a={"dtype": "BF16", "shape": [5, 8]}), DATA), "SCHEMA_DTYPE"),
    ("B30-entries in one row", payload_of(entries(a={"shape": [6]}), DATA), "SCHEMA_SHAPE"),
    ("B30-indices in a row, then values", payload_of(entries(a={"shape": [2, 3]}), DATA), "SCHEMA_SHAPE"),
    ("B30-the tensor's own shape", payload_of(entries(a={"shape": [5, 8]}), DATA), "SCHEMA_SHAPE"),
    (
        "B30-one entry more",
        payload_of(
            entries(a={"shape": [4, 2], "data_offsets": [0, 16]}, b={"data_offsets": [16, 20]}), DATA + b"\0" * 4
        ),
        "SCHEMA_SHAPE",
    ),
    (
        "B30-all values kept",
        payload_of(
            entries(a={"shape": [40, 2], "data_offsets": [0, 160]}, b={"data_offsets": [160, 164]}), DATA + bytes(148)
        ),
        "SCHEMA_SHAPE",
    ),
    (
        "B30-none kept",
        payload_of(entries(a={"shape": [0, 2], "data_offsets": [0, 0]}, b={"data_offsets": [0, 4]}), DATA[-4:]),
        "ST_SHAPE",
    ),
    (
        "B30-scales as in int8",
        payload_of({**ENTRIES, "scale:a": {"dtype": "BF16", "shape": [1], "data_offsets": [16, 18]}}, DATA + b"\0\0"),
        "SCHEMA_EXTRA",
    ),
    ("B30-a tensor left out", payload_of({"a": ENTRIES["a"]}, DATA[:12]), "SCHEMA_MISSING"),
    ("B30-overlapping entries", payload_of(entries(b={"data_offsets": [8, 12]}), DATA), "ST_OFFSET"),
    (
        "B30-tensors in another order",
        payload_of(entries(a={"data_offsets": [4, 16]}, b={"data_offsets": [0, 4]}), DATA),
        "ST_ORDER",
    ),
]
"""Refused for their header, before any value."""
