"""Chunks made and read by hand are protobuf's own, byte for byte and value for value."""

from hypothesis import example, given
from hypothesis import strategies as st

from isthmus.parts import ChunkPart, chunk_part, decoder, encode_part
from isthmus.v1 import aggregator_pb2, projector_pb2

REQUEST, RESPONSE = aggregator_pb2.PushDeltaRequest, aggregator_pb2.PullProjectorResponse
OFFSETS = st.integers(0, 2**64 - 1)


@given(OFFSETS, st.binary(max_size=300))
@example(0, b"")
@example(2**64 - 1, bytes(1 << 20))
def test_chunk_is_encoded_as_protobuf_does(offset: int, data: bytes) -> None:
    """A chunk's bytes are those that protobuf writes, in either stream."""
    chunk = projector_pb2.Chunk(offset_bytes=offset, data=data)

    encoded = {REQUEST(chunk=chunk).SerializeToString(), RESPONSE(chunk=chunk).SerializeToString()}

    assert {encode_part(chunk_part(offset, memoryview(data)))} == encoded


@given(OFFSETS, st.binary(min_size=1, max_size=300))
def test_chunk_is_read_without_a_copy(offset: int, data: bytes) -> None:
    """A chunk is a view of the message, and says what protobuf says of it."""
    message = REQUEST(chunk=projector_pb2.Chunk(offset_bytes=offset, data=data)).SerializeToString()

    part = decoder(REQUEST.FromString)(message)

    assert isinstance(part, ChunkPart)
    assert ("chunk", offset, data) == (part.WhichOneof("part"), part.chunk.offset_bytes, bytes(part.chunk.data))
    assert isinstance(part.chunk.data, memoryview)
    assert message is part.chunk.data.obj


FIELDS = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.tuples(st.sampled_from([0x08, 0x0A, 0x10, 0x12, 0x1A, 0x7A]), st.binary(max_size=8)).map(
            lambda one: bytes((one[0], len(one[1]))) + one[1]
        ),
        st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=8)).map(
            lambda one: encode_part(chunk_part(one[0], one[1]))
        ),
    ),
    max_size=4,
).map(b"".join)


def outcome(parse, message: bytes):
    """What a reader makes of a message: its part with its chunk's values, or that it is no message."""
    try:
        part = parse(message)
    except Exception as error:
        return type(error).__name__
    chunk = part.chunk
    return part.WhichOneof("part"), chunk.offset_bytes, bytes(chunk.data), part.header


@given(FIELDS)
@example(b"\x12\x04\x08\x01\x08\x02")
@example(b"\x12\x0c\x08" + b"\xff" * 10 + b"\x01")
@example(b"\x12\x05\x12\x01a\x08\x01")
@example(b"\x12\x80\x00")
@example(b"\x12\x83\x00\x12\x01a")
@example(b"\x12\x06\x12\x01a\x12\x01b")
def test_any_bytes_mean_what_protobuf_says(message: bytes) -> None:
    """Whatever comes is understood, or not understood, exactly as protobuf does."""
    assert outcome(REQUEST.FromString, message) == outcome(decoder(REQUEST.FromString), message)
