"""Fuzz target: payloads, judged by the safetensors library and by us.

What we accept loads there to equal tensors; what it rejects we refuse. Any chunking gives the same verdict, only typed
errors come out, and any header is judged within 50 ms of CPU and 4 MiB.
"""

import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import safetensors

from isthmus.contribution import Encoding
from isthmus.errors import IsthmusError, PayloadMalformed, RefusedDelta, SpecMismatch
from isthmus.payload import (
    DTYPES,
    MAX_HEADER_BYTES,
    SCALE_DTYPE,
    SCALED,
    PayloadLayout,
    scales_bytes,
    stored,
    values_bytes,
)
from isthmus.payload_header import parse_header, read_spec
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.top_k import VALUES_PER_ENTRY
from tests.fuzz.tape import Tape
from tests.hostile.forged import DATA, SPEC, A, B, require_well_said, verdict
from tests.hostile.header_cases import CASES

MAX_SECONDS = 0.05
MAX_BYTES = 4 * 2**20
MAX_DATA_BYTES = 4096

Loaded = dict[str, tuple[str, list[int], bytes]]
"""Dtype, shape and bytes of every tensor, by name."""

WORDS = (
    *(
        b'"a":',
        b'"b":',
        b'"dtype":',
        b'"shape":',
        b'"data_offsets":',
        b'"__metadata__":',
        b'"F32"',
        b'"BF16"',
        b'"F16"',
        b'"U16"',
    ),
    *(
        b"[0,24]",
        b"[24,36]",
        b"[2,3]",
        b"{}",
        b"[]",
        b'""',
        b"null",
        b"true",
        b"NaN",
        b"-0",
        b"1e3",
        b"0.0",
        b"\\u0061",
    ),
    *(
        b"9223372036854775808",
        b"18446744073709551616",
        b"\\ud800",
        b"../",
        b"\xef\xbb\xbf",
        b'{"dtype":"F32","shape":[1],',
    ),
)
"""What headers are made of."""

_RAW, _MENDED, _PADDED, _LONG = range(4)


def run(data: bytes) -> None:
    """Judges the payload that an input stands for, by everybody.

    The first byte says how the rest becomes a payload: as it is; as a header with its length before it, padded or not;
    or with one of its patterns repeated until it is as long as may be. And which values follow, and how it is cut.
    """
    tape = Tape(data)
    how = tape.byte()
    payload = _payload(tape, form=how & 3, values=how >> 2 & 7)
    agree(payload)
    _agree_on_its_own_spec(payload)
    _require_one_verdict(payload, cuts=_cuts(how >> 5, len(payload)))
    _require_cheap(payload, measures_memory=how & 3 == _LONG)


def seeds() -> Iterator[bytes]:
    """Inputs to begin with: the right payload in every form, each hostile header that is not long."""
    text = json.dumps({"a": A, "b": B}, separators=(",", ":")).encode()
    for form in (_MENDED, _PADDED):
        yield bytes([form]) + text
    for dtype in ("BF16", "F16"):
        halves = {
            "a": A | {"dtype": dtype, "data_offsets": [0, 12]},
            "b": B | {"dtype": dtype, "data_offsets": [12, 18]},
        }
        yield bytes([_MENDED | 1 << 2]) + json.dumps(halves).encode()
    kept = {"a": A | {"dtype": "U16", "shape": [6, 2]}, "b": B | {"dtype": "U16", "shape": [3, 2]}}
    yield bytes([_MENDED | 1 << 2]) + json.dumps(kept).encode()
    for place, length in ((5, 1), (1, 4), (len(text) - 2, 1)):
        yield bytes([_LONG, place, length]) + text
    for number, (_, payload, _) in enumerate(CASES):
        if len(payload) < 1000:
            yield _as_input(payload, cut=number % 8)


def _as_input(payload: bytes, *, cut: int) -> bytes:
    """The input that stands for a payload: by its header, where its length and its values are ordinary ones."""
    text = payload[8 : 8 + int.from_bytes(payload[:8], "little")]
    for values in range(8):
        if payload == _payload(Tape(text), form=_MENDED, values=values):
            return bytes([_MENDED | values << 2 | cut << 5]) + text
    return bytes([_RAW | cut << 5]) + payload


def agree(payload: bytes) -> None:
    """Both directions of the oracle, for the spec of `tests.hostile.forged` and for an unknown one."""
    expected, actual, read = oracle(payload), ours(payload), spec_of_unknown(payload)
    if actual is not None:
        assert expected == actual
    if read is not None:
        assert expected is not None
        assert sorted((name, shape) for name, (_, shape, _) in expected.items()) == read


def oracle(payload: bytes) -> Loaded | None:
    """The tensors that the safetensors library reads; None where it rejects."""
    try:
        return {
            name: (entry["dtype"], entry["shape"], bytes(entry["data"]))
            for name, entry in safetensors.deserialize(payload)
        }
    except Exception:  # its own class, and what its binding raises for names that are no Unicode
        return None


def ours(payload: bytes) -> Loaded | None:
    """The tensors that admission lets through, in the same form; None where it refuses."""
    try:
        return _loaded(payload, verdict(payload).layout, SPEC, encoding=Encoding.FP32)
    except IsthmusError:
        return None


def spec_of_unknown(payload: bytes) -> list[tuple[str, list[int]]] | None:
    """Names and shapes as read without a spec; None where that is refused."""
    try:
        spec = read_spec(payload, payload_size_bytes=len(payload))
    except (PayloadMalformed, SpecMismatch):
        return None
    return [(tensor.name, list(tensor.shape)) for tensor in spec.tensors]


def _loaded(payload: bytes, layout: PayloadLayout, spec: ProjectorSpec, *, encoding: Encoding) -> Loaded:
    values = payload[layout.data_start :]
    found = {one.name: (one.dtype, list(one.shape), values[one.start : one.end]) for one in stored(spec, encoding)}
    return {tensor.name: found[tensor.name] for tensor in spec.tensors}


def _agree_on_its_own_spec(payload: bytes) -> None:
    """With the spec of what the library reads, we refuse or read the same, in every encoding."""
    expected = oracle(payload)
    found = {one for one, _, _ in (expected or {}).values()}
    encodings = [one for one in Encoding if {DTYPES[one]} | ({SCALE_DTYPE} if one in SCALED else set()) == found]
    for encoding in encodings if expected else ():
        own = {name: entry for name, entry in expected.items() if entry[0] == DTYPES[encoding]}
        try:
            spec = ProjectorSpec(tuple(TensorSpec(name, "F32", _shape(own[name][1], encoding)) for name in sorted(own)))
            layout = parse_header(payload, spec, encoding, payload_size_bytes=len(payload))
        except (PayloadMalformed, SpecMismatch):
            continue
        assert own == _loaded(payload, layout, spec, encoding=encoding)
        sizes = [values_bytes(tensor.num_elements, encoding) for tensor in spec.tensors]
        assert len(payload) == layout.data_start + scales_bytes(spec, encoding) + sum(sizes)


def _shape(stored_as: list[int], encoding: Encoding) -> tuple[int, ...]:
    """A shape that a tensor of the spec may have when this one stands in the payload."""
    return (VALUES_PER_ENTRY * stored_as[0],) if encoding is Encoding.TOP_K and stored_as else tuple(stored_as)


def _require_one_verdict(payload: bytes, *, cuts: list[int]) -> None:
    """Cut anywhere, the payload gets the same norms or word for word the same refusal."""
    assert _said(payload, cuts=[]) == _said(payload, cuts=cuts)


def _said(payload: bytes, *, cuts: list[int]) -> object:
    try:
        return verdict(payload, cuts=cuts)
    except RefusedDelta as error:
        require_well_said(error)
        return type(error), str(error), error.details


def _require_cheap(payload: bytes, *, measures_memory: bool) -> None:
    """The header is judged within the CPU and the memory that any header may cost."""
    for judge in (_judge, _read):
        spent = _seconds(judge, payload)
        for _ in range(4):
            spent = min(spent, _seconds(judge, payload)) if spent > MAX_SECONDS else spent
        assert spent <= MAX_SECONDS, f"{judge.__name__} took {spent:.3f} s of CPU"
    if measures_memory:
        tracemalloc.start()
        try:
            _judge(payload)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= MAX_BYTES, f"judging held {peak} bytes"


def _judge(payload: bytes) -> None:
    with suppress(PayloadMalformed, SpecMismatch):
        parse_header(payload, SPEC, Encoding.FP32, payload_size_bytes=len(payload))


def _read(payload: bytes) -> None:
    spec_of_unknown(payload)


def _seconds(judge: Callable[[bytes], None], payload: bytes) -> float:
    start = time.thread_time()
    judge(payload)
    return time.thread_time() - start


def _payload(tape: Tape, *, form: int, values: int) -> bytes:
    if form == _RAW:
        return tape.rest()
    place, length = (tape.byte(), 1 + tape.byte(16)) if form == _LONG else (0, 0)
    text = tape.rest()
    if form == _LONG and text:
        start = place % len(text)
        pattern = text[start : start + length]
        room = MAX_HEADER_BYTES - len(text)
        text = text[:start] + (pattern * (room // len(pattern) + 1))[: max(0, room)] + text[start:]
    if form == _PADDED:
        text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + _values(text, values)


def _values(text: bytes, choice: int) -> bytes:
    """The values after a header: those of the right payload, or as many as it announces; exactly, or not quite."""
    right = DATA if choice & 1 == 0 else (DATA * 200)[: min(MAX_DATA_BYTES, _announced(text))]
    return (right, right[:-1], right + b"\0", b"")[choice >> 1]


def _announced(text: bytes) -> int:
    """The largest end of a tensor that a header announces, as far as it can be read; else 0."""
    try:
        ends = [entry["data_offsets"][1] for entry in json.loads(text).values()]
        return max((end for end in ends if isinstance(end, int) and end > 0), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return 0


def _cuts(choice: int, size: int) -> list[int]:
    """Where the payload is cut: not at all, into single bytes at its start, or into pieces of one size."""
    if choice == 0:
        return []
    if choice == 1:
        return list(range(1, min(size, 300)))
    return list(range(1, size, max(1, math.ceil(size / 300), choice * 5)))
