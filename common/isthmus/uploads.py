"""A payload's way out, in chunks from any offset, so that a broken upload is continued.

Knows the order of a push's parts; whether and when it is repeated is the caller's.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from isthmus.chunks import read_chunks, views
from isthmus.errors import ConfigInvalid
from isthmus.parts import chunk_part
from isthmus.raw_streams import PushPart
from isthmus.v1 import aggregator_pb2, projector_pb2

FIRST_CHUNK_BYTES = 16 << 10
"""Of one push attempt: a thin line, too, brings it before the aggregator takes the silo for dead."""

Data = bytes | memoryview

Chunks = Callable[[int], Iterator[tuple[int, Data]]]
"""Gives every (offset, bytes) of an upload from an offset to its end, in order."""


def chunks_of_file(path: Path, *, size_bytes: int) -> Chunks:
    """The chunks of a file that must have `size_bytes`; one chunk in memory.

    Raises:
        ConfigInvalid: The file cannot be opened or has another size.
    """
    try:
        measured = os.path.getsize(path)
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror}.") from error
    if measured != size_bytes:
        raise ConfigInvalid(f"{path} has {measured} bytes; its header says {size_bytes}.")

    def chunks(start: int) -> Iterator[tuple[int, Data]]:
        with path.open("rb") as file:
            yield from read_chunks(file, start=start, size_bytes=size_bytes)

    return chunks


def chunks_of_parts(parts: tuple[memoryview, ...]) -> Chunks:
    """The chunks of bytes that lie in several buffers; none spans two, so that no value is copied."""

    def chunks(start: int) -> Iterator[tuple[int, Data]]:
        passed = 0
        for part in parts:
            for offset, data in views(part, start=max(start - passed, 0)):
                yield passed + offset, data
            passed += part.nbytes

    return chunks


class Outgoing:
    """The request stream of one push attempt: header, chunks from an offset, finish.

    gRPC reads it from a thread of its own and hides what that raises; `failure` keeps it for the caller.
    """

    def __init__(
        self,
        header: projector_pb2.ContributionHeader,
        chunks: Iterator[tuple[int, Data]],
        *,
        report: Callable[[int], None],
    ) -> None:
        self._header = header
        self._chunks = chunks
        self._report = report
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[PushPart]:
        try:
            yield aggregator_pb2.PushDeltaRequest(header=self._header)
            for offset, data in _begun_gently(self._chunks):
                yield chunk_part(offset, data)
                self._report(offset + len(data))
            yield aggregator_pb2.PushDeltaRequest(finish=aggregator_pb2.PushFinish())
        except Exception as error:
            self.failure = error  # the stream now ends without finish: the aggregator keeps what it has


def _begun_gently(chunks: Iterator[tuple[int, Data]]) -> Iterator[tuple[int, Data]]:
    """The same bytes in chunks that begin small, each at most twice as large as the largest before it.

    An aggregator sees a chunk when it is whole: so it can tell a thin line from a dead one.
    """
    most = FIRST_CHUNK_BYTES
    for offset, data in chunks:
        position = 0
        while position < len(data):
            piece = data[position : position + most]
            yield offset + position, piece
            position += len(piece)
            most = max(most, 2 * len(piece))
