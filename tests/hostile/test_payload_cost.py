"""What judging costs stays bounded whatever is sent: time for the worst headers, memory for the largest payloads."""

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from aggregator.admission.payload import PayloadInspection
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import IsthmusError, PayloadMalformed
from isthmus.payload import MAX_HEADER_BYTES, layout
from isthmus.payload_header import parse_header, read_spec
from isthmus.spec import MAX_TENSORS, ProjectorSpec, TensorSpec
from isthmus.top_k import encode_top_k
from tests.hostile.forged import SPEC, federation_of, header_of

MAX_SECONDS = 0.05
MAX_BYTES = 4 * 2**20


def filled(pattern: str, *, before: str = '{"a":[', after: str = "]}") -> bytes:
    """A header as long as may be, most of it one pattern again and again."""
    room = MAX_HEADER_BYTES - len(before) - len(after)
    return (before + (pattern * (room // len(pattern) + 1))[:room] + after).encode()


def many_tensors() -> bytes:
    """The dearest header that is well-formed: as many tensors as there may be, with long names, in reverse order."""
    names = [f"{i:0150}" for i in range(MAX_TENSORS)]
    return json.dumps(
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in reversed(names)}
    ).encode()


HEADERS = {
    "many objects": filled("{},"),
    "many entries": filled('"":{},', before="{", after="}"),
    "many integers": filled("1,"),
    "many floats": filled("1e5,"),
    "many strings": filled('"",'),
    "one integer": filled("9", before='{"a":', after="}"),
    "one float": filled("9", before='{"a":1.', after="}"),
    "one name": filled("a", before='{"', after='":1}'),
    "one name of escapes": filled("\\u0061", before='{"', after='":1}'),
    "escaped quotes": filled('\\"', before='{"', after='":1}'),
    "strings never closed": filled('"\\', before="{", after="}"),
    "quotes": filled('"', before="{", after="}"),
    "backslashes": filled("\\", before="{", after="}"),
    "open brackets": filled("[", before="{", after="}"),
    "spaces": filled(" ", before="{", after="}"),
    "many tensors": many_tensors(),
}


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of this thread for a call that is refused, the least of five: others share the machine."""

    def once() -> float:
        start = time.thread_time()
        with pytest.raises(IsthmusError):
            call()
        return time.thread_time() - start

    return min(once() for _ in range(5))


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """What is allocated at most within the block, in bytes, known after it."""
    measured: list[int] = []
    tracemalloc.start()
    try:
        yield measured
        measured.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HEADERS.items()])
def test_any_header_is_judged_in_bounded_time_and_memory(text: bytes) -> None:
    """The worst headers under the cap cost at most 50 ms of CPU and 4 MiB, whether a spec is known or not."""
    assert len(text) <= MAX_HEADER_BYTES
    data = len(text).to_bytes(8, "little") + text

    def judge() -> object:
        return parse_header(data, SPEC, Encoding.FP32, payload_size_bytes=2**30)

    def read() -> object:
        return read_spec(data, payload_size_bytes=2**30)

    assert seconds(judge) <= MAX_SECONDS
    assert seconds(read) <= MAX_SECONDS
    with peak_bytes() as peak, pytest.raises(IsthmusError):
        judge()
    assert peak[0] <= MAX_BYTES


@pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 2**40, 2**63, 2**64 - 1])
def test_announced_numbers_allocate_nothing(length: int) -> None:
    """A header length, whatever it says, is refused at its eighth byte without anything allocated for it."""
    inspection = PayloadInspection(
        header_of(b"", payload_size_bytes=2**62), spec=SPEC, policy=federation_of().admission
    )

    with peak_bytes() as peak, pytest.raises(PayloadMalformed):
        inspection.feed(length.to_bytes(8, "little"))

    assert peak[0] < 64 * 1024


@pytest.mark.parametrize("encoding", READABLE)
def test_memory_does_not_grow_with_the_payload(encoding: Encoding) -> None:
    """A payload eight times as large is inspected within the same few blocks of memory: 64 MiB of float32 as 8."""
    least = 2**23 if encoding is Encoding.TOP_K else 2**21
    zeros = encode_top_k(np.zeros(2**22, np.float32)) if encoding is Encoding.TOP_K else bytes(2**20)

    def peak_of(num_values: int) -> int:
        spec = ProjectorSpec((TensorSpec("a", "F32", (num_values,)),))
        placed = layout(spec, encoding)
        header = header_of(b"", spec=spec, encoding=encoding, payload_size_bytes=placed.size_bytes)
        inspection = PayloadInspection(header, spec=spec, policy=federation_of(encoding).admission)
        with peak_bytes() as peak:
            inspection.feed(placed.header)
            for _ in range(placed.data_bytes // len(zeros)):
                inspection.feed(zeros)
        return peak[0]

    small, large = peak_of(least), peak_of(8 * least)

    assert large <= MAX_BYTES
    assert large <= small + 64 * 1024
