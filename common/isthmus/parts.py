"""Chunks on the wire without protobuf's copies: the bytes of `Chunk` in a stream's `chunk = 2`, made and read by hand.

protobuf copies a chunk's data twice on either side. Here it stays where it is: a chunk read is a view of the message
that gRPC received, and a chunk sent is joined once. Whatever is not exactly such a message goes through protobuf.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from isthmus.v1 import projector_pb2

_PART_TAG = 2 << 3 | 2
"""Field 2, length-delimited: `chunk` of PushDeltaRequest and of PullProjectorResponse."""

_OFFSET_TAG = 1 << 3
_DATA_TAG = 2 << 3 | 2
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class ChunkView:
    """A chunk whose data lies in another object's memory; as `isthmus.v1.Chunk`."""

    offset_bytes: int
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """A stream's part that is a chunk; as PushDeltaRequest and PullProjectorResponse."""

    chunk: ChunkView

    @property
    def header(self) -> Any:  # noqa: ANN401  # each stream has a header of its own kind
        """An empty one, as protobuf gives it for a part that is not there."""
        return projector_pb2.ContributionHeader()

    def WhichOneof(self, _oneof_group: str, /) -> str:  # protobuf's name
        """Always the chunk."""
        return "chunk"


class Part(Protocol):
    """A protobuf message."""

    def SerializeToString(self) -> bytes:  # protobuf's name
        """Its bytes."""
        ...


Message = TypeVar("Message")


def chunk_part(offset_bytes: int, data: bytes | memoryview) -> ChunkPart:
    """The part that holds these bytes; they are not copied before they are sent."""
    return ChunkPart(ChunkView(offset_bytes, data))


def encode_part(part: "ChunkPart | Part") -> bytes:
    """The part's bytes: as protobuf writes it, with one copy of a chunk's data."""
    if not isinstance(part, ChunkPart):
        return part.SerializeToString()
    offset, data = part.chunk.offset_bytes, part.chunk.data
    within = bytes((_OFFSET_TAG, *_varint(offset))) if offset else b""
    within += bytes((_DATA_TAG, *_varint(len(data)))) if data else b""
    return b"".join((bytes((_PART_TAG, *_varint(len(within) + len(data)))), within, data))


def decoder(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message | ChunkPart]:
    """Reads parts: a chunk as a view, everything else, and everything unusual, by protobuf's `parse`."""
    return lambda message: _chunk_of(message) or parse(message)


def _chunk_of(message: bytes) -> ChunkPart | None:
    """The chunk that is all this message holds, offset first; None: protobuf must judge it."""
    position = _tagged(message, 0, tag=_PART_TAG)
    if position is None:
        return None
    offset = 0
    if message[position : position + 1] == bytes((_OFFSET_TAG,)):
        read = _read_varint(message, position + 1)
        if read is None:
            return None
        offset, position = read
    start = _tagged(message, position, tag=_DATA_TAG)
    return None if start is None else chunk_part(offset, memoryview(message)[start:])


def _tagged(message: bytes, position: int, *, tag: int) -> int | None:
    """Where the content of a length-delimited field begins that reaches to the message's end; None: it does not."""
    if message[position : position + 1] != bytes((tag,)):
        return None
    read = _read_varint(message, position + 1)
    if read is None or read[0] == 0 or read[1] + read[0] != len(message):
        return None
    return read[1]


def _read_varint(message: bytes, position: int) -> tuple[int, int] | None:
    """The number that begins here, and where it ends; None: none of 64 bits does."""
    number = 0
    for index, byte in enumerate(message[position : position + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            shortest = byte or not index  # protobuf takes longer forms too, but not everywhere
            return (number, position + index + 1) if shortest and number < 1 << 64 else None
    return None


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
