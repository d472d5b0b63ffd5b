"""The two calls that carry tensors, with chunks that protobuf does not copy; on the wire they are the stub's own."""

from collections.abc import Callable, Iterator
from typing import Protocol

from isthmus.parts import ChunkPart, decoder, encode_part
from isthmus.v1 import aggregator_pb2

_SERVICE = aggregator_pb2.DESCRIPTOR.services_by_name["AggregatorService"].full_name
PUSH_DELTA = f"/{_SERVICE}/PushDelta"
PULL_PROJECTOR = f"/{_SERVICE}/PullProjector"

PushPart = aggregator_pb2.PushDeltaRequest | ChunkPart
PullPart = aggregator_pb2.PullProjectorResponse | ChunkPart


class Channel(Protocol):
    """What is asked of a `grpc.Channel`."""

    def stream_unary(self, *arguments: object, **options: object) -> Callable[..., object]:
        """See `grpc.Channel.stream_unary`."""
        ...

    def unary_stream(self, *arguments: object, **options: object) -> Callable[..., object]:
        """See `grpc.Channel.unary_stream`."""
        ...


def push_delta(channel: Channel) -> Callable[..., aggregator_pb2.PushDeltaResponse]:
    """PushDelta of AggregatorService, whose chunks may be `ChunkPart`."""
    return channel.stream_unary(  # type: ignore[return-value]  # gRPC knows the types by the two functions
        PUSH_DELTA,
        request_serializer=encode_part,
        response_deserializer=aggregator_pb2.PushDeltaResponse.FromString,
    )


def pull_projector(channel: Channel) -> Callable[..., Iterator[PullPart]]:
    """PullProjector of AggregatorService, whose chunks are views of what gRPC received."""
    return channel.unary_stream(  # type: ignore[return-value]  # as above
        PULL_PROJECTOR,
        request_serializer=aggregator_pb2.PullProjectorRequest.SerializeToString,
        response_deserializer=decoder(aggregator_pb2.PullProjectorResponse.FromString),
    )
