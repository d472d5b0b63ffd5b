"""A payload's way out: the chunks from any offset, and the parts of one push attempt."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.chunks import CHUNK_BYTES
from isthmus.errors import ConfigInvalid
from isthmus.uploads import Outgoing, chunks_of_file, chunks_of_parts
from isthmus.v1 import projector_pb2

MIB = 1 << 20


@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 1000, MIB - 1, MIB, MIB + 1]), min_size=1, max_size=5),
    share=st.floats(0, 1),
)
def test_chunks_of_parts_are_those_of_the_whole(sizes: list[int], share: float) -> None:
    """From any offset, the chunks join to the rest of the bytes, lie without gaps, and none is empty or over 1 MiB."""
    parts = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    whole = b"".join(parts)
    start = int(share * len(whole))

    chunks = list(chunks_of_parts(tuple(map(memoryview, parts)))(start))

    assert whole[start:] == b"".join(data for _, data in chunks)
    assert all(1 <= len(data) <= CHUNK_BYTES for _, data in chunks)
    ends = [offset + len(data) for offset, data in chunks]
    assert [start, *ends][: len(chunks)] == [offset for offset, _ in chunks]


def test_chunks_of_a_file_continue_anywhere(tmp_path: Path) -> None:
    """A file of an outbox is read from the offset that the aggregator asks for."""
    path = tmp_path / "delta.safetensors"
    path.write_bytes(b"x" * MIB + b"y" * 5)

    assert [(MIB - 2, b"xxyyyyy")] == list(chunks_of_file(path, size_bytes=MIB + 5)(MIB - 2))


def test_file_of_another_size_is_refused(tmp_path: Path) -> None:
    """A file that was cut off since its header was written is refused before a call is made."""
    path = tmp_path / "delta.safetensors"
    path.write_bytes(b"x" * 5)

    with pytest.raises(ConfigInvalid, match="has 5 bytes; its header says 6"):
        chunks_of_file(path, size_bytes=6)
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        chunks_of_file(tmp_path / "none", size_bytes=6)


def test_attempt_is_header_chunks_finish() -> None:
    """One attempt sends the header, the chunks and then finish, and reports what it handed over."""
    done: list[int] = []
    outgoing = Outgoing(projector_pb2.ContributionHeader(), iter([(2, b"ab"), (4, b"c")]), report=done.append)

    parts = [request.WhichOneof("part") for request in outgoing]

    assert ["header", "chunk", "chunk", "finish"] == parts
    assert [4, 5] == done


@pytest.mark.parametrize("sizes", [[], [1], [500, 4000, MIB, 100, MIB, 70_000], [3 * MIB]])
def test_chunks_begin_small_and_grow(sizes: list[int]) -> None:
    """All bytes are sent in order; the first chunk has 16 KiB at most, and none over twice the largest before it."""
    whole = bytes(range(256)) * (sum(sizes) // 256 + 1)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    chunks = iter([(start, whole[start : start + size]) for start, size in zip(starts, sizes, strict=True)])

    sent = list(Outgoing(projector_pb2.ContributionHeader(), chunks, report=lambda done: None))[1:-1]

    lengths = [len(part.chunk.data) for part in sent]
    assert whole[: sum(sizes)] == b"".join(part.chunk.data for part in sent)
    assert [sum(lengths[:at]) for at in range(len(lengths))] == [part.chunk.offset_bytes for part in sent]
    assert all(length <= 2 * max([8 << 10, *lengths[:at]]) for at, length in enumerate(lengths))


def test_broken_source_never_sends_finish() -> None:
    """When reading the payload fails, the stream ends without finish and the caller can see why."""

    def chunks():
        yield 0, b"ab"
        raise OSError("the disk is gone")

    outgoing = Outgoing(projector_pb2.ContributionHeader(), chunks(), report=lambda done: None)

    parts = [request.WhichOneof("part") for request in outgoing]

    assert ["header", "chunk"] == parts
    assert "the disk is gone" == str(outgoing.failure)
