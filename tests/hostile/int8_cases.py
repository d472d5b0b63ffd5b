"""Battery B25 to B27: int8 that no encoder writes, each with the check that must find it."""

import numpy as np

from isthmus.contribution import Encoding
from tests.hostile.forged import delta_of, payload_of

HONEST = delta_of(
    (np.arange(6, dtype=np.float32).reshape(2, 3) / 8, np.full(3, 0.5, np.float32)), encoding=Encoding.INT8
)
"""Scales of a and b at -13 and -11 from the end, then six int8 of a and three of b."""

ENTRIES = {
    "scale:a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
    "scale:b": {"dtype": "BF16", "shape": [1], "data_offsets": [2, 4]},
    "a": {"dtype": "I8", "shape": [2, 3], "data_offsets": [4, 10]},
    "b": {"dtype": "I8", "shape": [3], "data_offsets": [10, 13]},
}
DATA = HONEST[-13:]
SCALE_A, SCALE_B, VALUE_A, LAST = 0, 2, 4, 12


def with_bytes(place: int, data: str) -> bytes:
    """The honest payload with other bytes, given as hex, at a place among scales and values."""
    raw = bytes.fromhex(data)
    return HONEST[: len(HONEST) - 13 + place] + raw + HONEST[len(HONEST) - 13 + place + len(raw) :]


def entries(**changed: dict[str, object]) -> dict[str, object]:
    """The honest header's entries but for some fields; "scale_a" stands for scale:a."""
    named = {name.replace("scale_", "scale:"): fields for name, fields in changed.items()}
    return {name: {**entry, **named.get(name, {})} for name, entry in ENTRIES.items()}


SCALE_CASES: list[tuple[str, bytes, str]] = [
    ("B25-NaN scale", with_bytes(SCALE_A, "c07f"), "SCALE_RANGE"),
    ("B25-signalling NaN scale", with_bytes(SCALE_B, "817f"), "SCALE_RANGE"),
    ("B25-infinite scale", with_bytes(SCALE_A, "807f"), "SCALE_RANGE"),
    ("B25-negative scale", with_bytes(SCALE_B, "80bf"), "SCALE_RANGE"),
    ("B25-minus zero scale", with_bytes(SCALE_A, "0080"), "SCALE_RANGE"),
    ("B25-subnormal scale", with_bytes(SCALE_A, "7f00"), "SCALE_RANGE"),
    ("B25-scale whose 127-fold overflows", with_bytes(SCALE_A, "027c"), "SCALE_RANGE"),
    ("B26-minus 128", with_bytes(VALUE_A, "80"), "VALUE_RANGE"),
    ("B26-minus 128 as the last value", with_bytes(LAST, "80"), "VALUE_RANGE"),
    ("B26-values under a scale of zero", with_bytes(SCALE_B, "0000"), "SCALE_ZERO"),
]
"""Refused as PAYLOAD_MALFORMED."""

FORM_CASES: list[tuple[str, bytes, str]] = [
    ("B27-no scales", payload_of({name: ENTRIES[name] for name in ("a", "b")}, DATA), "SCHEMA_MISSING"),
    ("B27-scales that are no entry", payload_of({**entries(), "scale:b": None}, DATA), "ST_FIELD"),
    (
        "B27-one tensor's scales left out",
        payload_of({name: entry for name, entry in ENTRIES.items() if name != "scale:b"}, DATA),
        "SCHEMA_MISSING",
    ),
    (
        "B27-scales of no tensor",
        payload_of({**ENTRIES, "scale:c": {"dtype": "BF16", "shape": [1], "data_offsets": [13, 15]}}, DATA + b"\0\0"),
        "SCHEMA_EXTRA",
    ),
    ("B27-scales as F32", payload_of(entries(scale_a={"dtype": "F32"}), DATA), "SCHEMA_DTYPE"),
    ("B27-scales as F16", payload_of(entries(scale_a={"dtype": "F16"}), DATA), "SCHEMA_DTYPE"),
    ("B27-values as U8", payload_of(entries(a={"dtype": "U8"}), DATA), "SCHEMA_DTYPE"),
    ("B27-two scales for one block", payload_of(entries(scale_a={"shape": [2]}), DATA), "SCHEMA_SHAPE"),
    ("B27-a scale that is no list", payload_of(entries(scale_a={"shape": []}), DATA), "SCHEMA_SHAPE"),
    ("B27-overlapping scales", payload_of(entries(scale_b={"data_offsets": [0, 2]}), DATA), "ST_OFFSET"),
    (
        "B27-scales behind their values",
        payload_of(
            entries(
                scale_a={"data_offsets": [9, 11]},
                scale_b={"data_offsets": [11, 13]},
                a={"data_offsets": [0, 6]},
                b={"data_offsets": [6, 9]},
            ),
            DATA,
        ),
        "ST_ORDER",
    ),
]
"""Refused for their header, before any value."""
