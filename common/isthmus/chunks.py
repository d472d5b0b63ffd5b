"""How payloads and projectors are cut for the wire and for the store. Sizes and offsets only; no transport, no disk."""

from collections.abc import Iterator
from typing import BinaryIO

from isthmus.errors import OffsetMismatch, PayloadMalformed, PayloadTooLarge

CHUNK_BYTES = 1 << 20
"""What both sides send in one message: large enough that framing costs nothing, small enough to bound memory."""

MAX_CHUNK_BYTES = 2 << 20
"""What both sides accept in one message."""

SEGMENT_BYTES = 4 << 20
"""What the aggregator stages at once. With gRPC's window it bounds what a broken upload sends twice, see ADR 0018."""

MESSAGE_CAP_BYTES = 4 << 20
"""gRPC's own default limit for one message, stated so that it cannot drift."""


def spans(start: int, end: int, *, step: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """Every (offset, size) that covers [start, end) in order, each of at most `step` bytes."""
    for offset in range(start, end, step):
        yield offset, min(step, end - offset)


def views(
    data: bytes | bytearray | memoryview, *, start: int = 0, step: int = CHUNK_BYTES
) -> Iterator[tuple[int, memoryview]]:
    """Every (offset, bytes) of `data` from `start` to its end, in order; nothing is copied."""
    view = memoryview(data)
    for offset, size in spans(start, len(view), step=step):
        yield offset, view[offset : offset + size]


def split(data: bytes | memoryview, *, start: int = 0, step: int = CHUNK_BYTES) -> Iterator[tuple[int, bytes]]:
    """As `views`, each chunk in memory of its own."""
    return ((offset, bytes(view)) for offset, view in views(data, start=start, step=step))


def read_chunks(
    source: BinaryIO, *, start: int, size_bytes: int, step: int = CHUNK_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Every (offset, bytes) of a seekable file of `size_bytes` from `start`, in order; one chunk in memory.

    Raises:
        PayloadMalformed: The file is shorter than `size_bytes`.
    """
    source.seek(start)
    for offset, size in spans(start, size_bytes):
        data = source.read(size)
        if len(data) != size:
            raise PayloadMalformed(
                f"The file ends at byte {offset + len(data)}; {size_bytes} bytes were announced.",
                check="file_size",
                measured=offset + len(data),
                limit=size_bytes,
            )
        yield offset, data


def require_next(offset_bytes: int, num_bytes: int, *, committed_bytes: int, size_bytes: int) -> None:
    """Checks that a chunk is the next one of an upload of `size_bytes`, of which `committed_bytes` are there.

    Raises:
        PayloadMalformed: The chunk is empty or over 2 MiB.
        OffsetMismatch: It does not start at `committed_bytes`; the details have `committedBytes`.
        PayloadTooLarge: It ends beyond `size_bytes`.
    """
    if not 1 <= num_bytes <= MAX_CHUNK_BYTES:
        raise PayloadMalformed(
            f"A chunk has {num_bytes} bytes; it must have 1 to {MAX_CHUNK_BYTES}.",
            check="chunk_size",
            measured=num_bytes,
            limit=MAX_CHUNK_BYTES,
        )
    if offset_bytes != committed_bytes:
        raise OffsetMismatch(
            f"A chunk starts at byte {offset_bytes}, but the upload goes on at byte {committed_bytes}. Resume there.",
            committedBytes=committed_bytes,
        )
    if offset_bytes + num_bytes > size_bytes:
        raise PayloadTooLarge(
            f"A chunk ends at byte {offset_bytes + num_bytes}, but the header announced {size_bytes} bytes.",
            check="announced_size",
            measured=offset_bytes + num_bytes,
            limit=size_bytes,
        )
