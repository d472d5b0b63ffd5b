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
        self._retired: tuple[grpc.Channel, ...] = ()
        self._generation = 0
        self._turn = first

    def move_on(self) -> None:
        """The next call goes to the next channel."""
        self._turn += 1

    def swap(self, channels: Sequence[grpc.Channel]) -> None:
        """The next call goes over these channels; calls over the old ones go on until the next swap."""
        for channel in self._retired:
            channel.close()
        self._retired, self._channels = self._channels, tuple(channels)
        self._generation += 1

    def close(self) -> None:
        """Ends every call and closes every connection."""
        for channel in (*self._retired, *self._channels):
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
        made: dict[int, list[Method]] = {}  # of the present generation of channels

        def call(request: object, **about: object) -> object:
            if self._generation not in made:
                made.clear()
                made[self._generation] = [getattr(channel, kind)(*arguments, **options) for channel in self._channels]
            methods = made[self._generation]
            return methods[self._turn % len(methods)](request, **about)

        return call
