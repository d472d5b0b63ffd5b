"""The safetensors library as oracle, in both directions, over payloads bent at random.

What admission lets through loads there to equal tensors; what that library rejects, admission refuses.
"""

import copy
import json
import struct

import hypothesis.strategies as st
import numpy as np
import safetensors
from forged import DATA, SPEC, A, B, payload_of, verdict
from hypothesis import example, given, settings

from isthmus.errors import IsthmusError
from isthmus.payload_header import read_spec

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

Loaded = dict[str, tuple[str, list[int], bytes]]


def oracle(payload: bytes) -> Loaded | None:
    """The tensors that the safetensors library reads: dtype, shape, bytes by name; None where it rejects."""
    try:
        return {
            name: (entry["dtype"], entry["shape"], bytes(entry["data"]))
            for name, entry in safetensors.deserialize(payload)
        }
    except Exception:
        return None


def ours(payload: bytes) -> Loaded | None:
    """The tensors that admission lets through, in the same form; None where it refuses."""
    try:
        layout = verdict(payload).layout
    except IsthmusError:
        return None
    return {
        span.tensor.name: (
            "F32",
            list(span.tensor.shape),
            payload[layout.data_start + span.start : layout.data_start + span.end],
        )
        for span in layout.tensors
    }


def spec_of_unknown(payload: bytes) -> list[tuple[str, list[int]]] | None:
    """Names and shapes as read without a spec; None where that is refused."""
    try:
        spec = read_spec(payload, payload_size_bytes=len(payload))
    except IsthmusError:
        return None
    return [(tensor.name, list(tensor.shape)) for tensor in spec.tensors]


def agree(payload: bytes) -> None:
    """Both directions of the oracle, for a known and for an unknown spec."""
    expected, actual, read = oracle(payload), ours(payload), spec_of_unknown(payload)
    if actual is not None:
        assert expected == actual
    if read is not None:
        assert expected is not None
        assert sorted((name, shape) for name, (_, shape, _) in expected.items()) == read


@st.composite
def bent_bytes(draw: st.DrawFn) -> bytes:
    """A right payload with a few bytes replaced, inserted, removed or doubled; its length prefix mostly mended."""
    header = bytearray(json.dumps({"a": A, "b": B}, separators=(",", ":")).encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(header)))
        end = min(len(header), start + draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20])))
        insert = draw(st.sampled_from([b"", *SNIPPETS, bytes(header[start:end]) * 2]))
        header[start:end] = insert
    data = draw(st.sampled_from([DATA, DATA, DATA, DATA[:-1], DATA + b"\0", DATA + DATA, b""]))
    payload = payload_of(bytes(header), data, pad=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        payload = struct.pack("<Q", draw(st.sampled_from([0, 1, 8, len(header) + 8, 2**63]))) + payload[8:]
    return payload


@st.composite
def bent_entries(draw: st.DrawFn) -> bytes:
    """A payload whose header is JSON of the right form in which a few values are others."""
    entries: dict[str, dict[str, object]] = copy.deepcopy({"a": A, "b": B})
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(entries)))
        match draw(st.integers(0, 5)):
            case 0:
                entries[name]["shape"] = draw(st.lists(NUMBERS, max_size=4))
            case 1:
                entries[name]["data_offsets"] = draw(st.lists(NUMBERS, min_size=1, max_size=3))
            case 2:
                entries[name]["dtype"] = draw(
                    st.sampled_from(["F32", "F16", "BF16", "F64", "U8", "BOOL", "F4", "C64", ""])
                )
            case 3:
                entries[draw(st.sampled_from(["a", "b", "c", "A", "", "\u0430", "__metadata__", "a/b"]))] = entries.pop(
                    name
                )
            case 4:
                entries[name].pop(draw(st.sampled_from(["dtype", "shape", "data_offsets"])), None)
            case _:
                entries = dict(reversed(entries.items()))
    return payload_of(json.dumps(entries), draw(st.sampled_from([DATA, DATA, DATA + b"\0" * 12, b""])))


@settings(max_examples=400, deadline=None)
@given(payload=bent_bytes())
@example(payload=payload_of({"a": A, "b": B}))
@example(payload=payload_of(json.dumps({"a": A, "b": B}).replace("[0,", "[-0,").replace("[0, ", "[-0, ")))
def test_bent_bytes_get_the_same_answer_as_from_the_library(payload: bytes) -> None:
    """Whatever a few changed bytes make of a payload, admission is never more lenient than the library."""
    agree(payload)


@settings(max_examples=400, deadline=None)
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
