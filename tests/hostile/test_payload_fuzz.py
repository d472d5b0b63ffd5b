"""The safetensors library as oracle, in both directions, over payloads bent at random.

What admission lets through loads there to equal tensors; what that library rejects, admission refuses. `make fuzz`
makes the same comparison for inputs that are led by coverage: tests/fuzz/header.py.
"""

import copy
import json
import math
import struct

import hypothesis.strategies as st
import numpy as np
from hypothesis import example, given, settings

from tests.fuzz.header import agree, oracle, ours, spec_of_unknown
from tests.hostile.forged import DATA, SPEC, A, B, payload_of

SNIPPETS = [
    *(bytes([byte]) for byte in b'"{}[],:. -+0123456789eEaFx\\/\t\n\r\0\x7f\x80\xff'),
    *(b"null", b"true", b"NaN", b"1e3", b"-0", b"00", b"\\u0061", b"\\ud83d\\ude00", b"\\ud800", b"\xef\xbb\xbf"),
    *(
        b'"a"',
        b'"__metadata__":{},',
        b'"dtype":"F32",',
        b'"shape":[],',
        b'"BF16"',
        b"18446744073709551616",
        b"{}",
        b"[]",
    ),
]
NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 4, 6, 12, 24, 36, 37, 2**31, 2**32, 2**62, 2**63, 2**64, -1, 1.0, None, True, "3"]
)
DTYPES = ["F32", "F16", "BF16", "F64", "U8", "BOOL", "F4", "C64", ""]
NAMES = ["a", "b", "c", "A", "", "\u0430", "__metadata__", "a/b", "c d", "../c"]


@st.composite
def bent_bytes(draw: st.DrawFn) -> bytes:
    """A right payload with a few bytes replaced, inserted, removed or doubled; its length prefix mostly mended."""
    header = bytearray(json.dumps({"a": A, "b": B}).encode())
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        start = draw(st.integers(0, len(header)))
        end = min(len(header), start + draw(st.sampled_from([0, 0, 0, 1, 1, 2, 20])))
        insert = draw(
            st.one_of(st.sampled_from([b" ", b"\n", b"", bytes(header[start:end]) * 2]), st.sampled_from(SNIPPETS))
        )
        header[start:end] = insert
    data = draw(st.sampled_from([DATA] * 9 + [DATA[:-1], DATA + b"\0", DATA + DATA, b""]))
    payload = payload_of(bytes(header), data, pad=draw(st.booleans()))
    if draw(st.integers(0, 19)) == 0:
        payload = struct.pack("<Q", draw(st.sampled_from([0, 1, 8, len(header) + 8, 2**63]))) + payload[8:]
    return payload


def bend(draw: st.DrawFn, entries: dict[str, dict[str, object]]) -> None:
    """Changes one thing in one entry."""
    name = draw(st.sampled_from(sorted(entries)))
    match draw(st.integers(0, 5)):
        case 0:
            entries[name]["shape"] = draw(st.lists(NUMBERS, max_size=4))
        case 1:
            entries[name]["data_offsets"] = draw(st.lists(NUMBERS, min_size=1, max_size=3))
        case 2:
            entries[name]["dtype"] = draw(st.sampled_from(DTYPES))
        case 3:
            entries[draw(st.sampled_from(NAMES))] = entries.pop(name)
        case 4:
            entries[name].pop(draw(st.sampled_from(["dtype", "shape", "data_offsets"])), None)
        case _:
            entries[draw(st.sampled_from(NAMES))] = {"dtype": "F32", "shape": [1], "data_offsets": [36, 40]}


def mended(entries: dict[str, dict[str, object]], order: list[str]) -> bytes:
    """Values for these shapes, and offsets that say where they lie in this order, as far as the shapes make sense."""
    end = 0
    for name in order:
        shape = entries[name].get("shape")
        dimensions = shape if isinstance(shape, list) and all(type(d) is int and 0 <= d < 50 for d in shape) else [1]
        start, end = end, end + 4 * math.prod(dimensions)
        entries[name]["data_offsets"] = [start, end]
    return bytes(range(256)) * (end // 256) + bytes(range(end % 256))


@st.composite
def bent_entries(draw: st.DrawFn) -> bytes:
    """A payload whose header is JSON of the right form in which a few values are others, offsets mended or not."""
    entries: dict[str, dict[str, object]] = copy.deepcopy({"a": A, "b": B})
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        bend(draw, entries)
    data = draw(st.sampled_from([DATA, DATA, DATA + b"\0" * 12, b""]))
    if draw(st.booleans()):
        order = sorted(entries)
        data = mended(entries, draw(st.one_of(st.just(order), st.permutations(order))))
    names = draw(st.permutations(sorted(entries)))
    return payload_of(json.dumps({name: entries[name] for name in names}), data)


@settings(max_examples=250, deadline=None)
@given(payload=bent_bytes())
@example(payload=payload_of({"a": A, "b": B}))
@example(payload=payload_of(json.dumps({"a": A, "b": B}).replace("[0,", "[-0,").replace("[0, ", "[-0, ")))
def test_bent_bytes_get_the_same_answer_as_from_the_library(payload: bytes) -> None:
    """Whatever a few changed bytes make of a payload, admission is never more lenient than the library."""
    agree(payload)


@settings(max_examples=250, deadline=None)
@given(payload=bent_entries())
def test_bent_entries_get_the_same_answer_as_from_the_library(payload: bytes) -> None:
    """Whatever other values a header holds, admission is never more lenient than the library."""
    agree(payload)


def test_oracle_sees_what_admission_sees() -> None:
    """The right payload loads on both sides to equal tensors, so that the comparison above compares something."""
    loaded = ours(payload_of({"a": A, "b": B}))

    assert loaded is not None
    assert loaded == oracle(payload_of({"a": A, "b": B}))
    assert np.frombuffer(loaded["b"][2], np.float32).tolist() == [7.0, 8.0, 9.0]
    assert spec_of_unknown(payload_of({"a": A, "b": B})) == [(t.name, list(t.shape)) for t in SPEC.tensors]
