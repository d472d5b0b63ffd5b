"""Several channels as one, for the stubs: each to replicas of one aggregator, any of which can answer any call."""

from collections.abc import Callable, Sequence

import grpc

Method = Callable[..., object]


class Replicas:
    """What a stub asks of a `grpc.Channel`, over channels that stand in for each other.

    Calls go to one of them until `move_on`, then to the next, round and round. Which of the addresses behind one
    channel takes a call is gRPC's business.

    Args:
        channels: At least one.
        first: Which of them takes the first call.
    """

    def __init__(self, channels: Sequence[grpc.Channel], *, first: int = 0) -> None:
        self._channels = tuple(channels)
        self._turn = first

    def move_on(self) -> None:
        """The next call goes to the next channel."""
        self._turn += 1

    def close(self) -> None:
        """Ends every call and closes every connection."""
        for channel in self._channels:
            channel.close()

    def unary_unary(self, *arguments: object, **options: object) -> Method:
        """See `grpc.Channel.unary_unary`."""
        return self._alternating("unary_unary", *arguments, **options)

    def unary_stream(self, *arguments: object, **options: object) -> Method:
        """See `grpc.Channel.unary_stream`."""
        return self._alternating("unary_stream", *arguments, **options)

    def stream_unary(self, *arguments: object, **options: object) -> Method:
        """See `grpc.Channel.stream_unary`."""
        return self._alternating("stream_unary", *arguments, **options)

    def _alternating(self, kind: str, *arguments: object, **options: object) -> Method:
        methods = [getattr(channel, kind)(*arguments, **options) for channel in self._channels]
        return lambda request, **about: methods[self._turn % len(methods)](request, **about)
