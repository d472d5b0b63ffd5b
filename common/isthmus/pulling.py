"""A round's global projector over a silo's connection, streamed as often as it takes until it is whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from isthmus.channel import Connection
from isthmus.downloads import Download, IntoMemory
from isthmus.manifest import ProjectorManifest
from isthmus.raw_streams import PullPart
from isthmus.retry import Patience, Waiter
from isthmus.round import Round
from isthmus.traces import silo_span
from isthmus.v1 import aggregator_pb2

STREAM_SECONDS = 600.0
"""Deadline of one stream; a transfer that takes longer goes on in the next one."""


@dataclass(frozen=True, slots=True)
class Pulling:
    """How a silo pulls.

    Attributes:
        connection: Over which.
        pull: The call.
        patience: Without any progress.
        report: Told of bytes done and bytes in all.
        judge: Raises for a manifest that is not the aggregator's.
    """

    connection: Connection
    pull: Callable[..., Iterator[PullPart]]
    patience: Patience
    report: Callable[[int, int], None]
    judge: Callable[[ProjectorManifest], None]

    def projector_of(self, round: Round, *, silo: str, room: bytearray) -> bytearray:
        """The bytes of the projector that the round starts from; `silo` for the span, `room` as for `IntoMemory`.

        Raises:
            IsthmusError: As `isthmus.downloads.Download.run`.
        """
        sink = IntoMemory(round, room=room)

        def stream(offset: int) -> Iterator[PullPart]:
            request = aggregator_pb2.PullProjectorRequest(
                federation=round.federation, number=round.number - 1, offset_bytes=offset
            )
            return self.connection.stream(
                lambda: self.pull(request, timeout=STREAM_SECONDS, metadata=self.connection.metadata)
            )

        with silo_span("silo.pull", round.federation, round.number, silo=silo):
            Download(sink, waiter=Waiter(self.patience), report=self.report, judge=self.judge).run(stream)
        return sink.data
