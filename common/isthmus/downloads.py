"""A projector's way here, over streams that may break: continued where it stopped, checked as a whole.

Knows offsets, digests and when a projector is whole; the RPC that streams it and the place it goes to are the caller's.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Protocol

from isthmus.checking import understood
from isthmus.chunks import require_next
from isthmus.contribution import Encoding
from isthmus.errors import AggregatorUnreachable, AggregatorUntrusted, IsthmusError
from isthmus.manifest import ProjectorManifest
from isthmus.parts import ChunkView
from isthmus.payload import layout
from isthmus.retry import Waiter
from isthmus.round import Round
from isthmus.v1 import projector_pb2
from isthmus.wire import manifest_from_proto


class PartMessage(Protocol):
    """What PullProjector and ExportProjector stream: a header, then chunks."""

    @property
    def header(self) -> projector_pb2.ProjectorManifest:
        """Which projector this is."""
        ...

    @property
    def chunk(self) -> projector_pb2.Chunk | ChunkView:
        """The next bytes."""
        ...

    def WhichOneof(self, oneof_group: str, /) -> str | None:
        """Which of the two it is."""
        ...


class Sink(Protocol):
    """Where the bytes of a download go, in order, each once."""

    def begin(self, manifest: ProjectorManifest) -> None:
        """Told once, before any byte; raises to refuse the projector."""
        ...

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Takes the bytes at this offset."""
        ...


class Download:
    """One projector on its way here, over as many streams as it takes.

    Args:
        sink: Where its bytes go.
        waiter: Says how long to go on after what went wrong.
        report: Told (bytes done, bytes in all) after every chunk.
        judge: Raises unless a manifest is the aggregator's own.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        waiter: Waiter,
        report: Callable[[int, int], None],
        judge: Callable[[ProjectorManifest], None],
    ) -> None:
        self._sink = sink
        self._judge = judge
        self._waiter = waiter
        self._report = report
        self._manifest: ProjectorManifest | None = None
        self._received = 0
        self._hash = hashlib.sha256()

    def run(self, open_stream: Callable[[int], Iterator[PartMessage]]) -> ProjectorManifest:
        """Pulls until all bytes are there; `open_stream(offset)` asks for the stream from that byte.

        Raises:
            AggregatorUntrusted: The bytes are not those of the manifest.
            IsthmusError: What the aggregator answered, or patience is over.
        """
        while True:
            try:
                for part in open_stream(self._received):
                    self._take(part)
                return self._whole()
            except IsthmusError as error:
                self._waiter.after(error)

    def _take(self, part: PartMessage) -> None:
        if part.WhichOneof("part") == "header":
            self._identify(understood(lambda: manifest_from_proto(part.header), what="a projector"))
            return
        if self._manifest is None:
            raise AggregatorUnreachable("The stream of a projector began without its header.")
        data = part.chunk.data
        require_next(
            part.chunk.offset_bytes, len(data), committed_bytes=self._received, size_bytes=self._manifest.size_bytes
        )
        self._sink.write(self._received, data)
        self._hash.update(data)
        self._received += len(data)
        self._waiter.progressed()
        self._report(self._received, self._manifest.size_bytes)

    def _identify(self, manifest: ProjectorManifest) -> None:
        self._judge(manifest)
        if self._manifest is None:
            self._sink.begin(manifest)
            self._manifest = manifest
        elif manifest.digest != self._manifest.digest or manifest.size_bytes != self._manifest.size_bytes:
            raise AggregatorUntrusted(
                f"Projector {manifest.number} changed while it was pulled. A published projector never does: "
                "check that every replica behind this address serves the same store.",
                check="digest",
                measured=manifest.digest.hex(),
                limit=self._manifest.digest.hex(),
            )

    def _whole(self) -> ProjectorManifest:
        if self._manifest is None or self._received < self._manifest.size_bytes:
            raise AggregatorUnreachable(f"The stream of a projector ended early, at byte {self._received}.")
        if self._hash.digest() != self._manifest.digest:
            raise AggregatorUntrusted(
                f"The bytes of projector {self._manifest.number} do not have the digest of its manifest. "
                "Nothing was kept; pull again, and tell the operator if it happens twice.",
                check="digest",
                measured=self._hash.hexdigest(),
                limit=self._manifest.digest.hex(),
            )
        return self._manifest


class IntoMemory:
    """A sink in memory for the projector that a round starts from, and for no other.

    Args:
        round: See above.
        room: Memory that nobody needs any more; filled anew where it is as long as a projector.
    """

    def __init__(self, round: Round, *, room: bytearray | None = None) -> None:
        self._round = round
        self._room = room
        self.data = bytearray()

    def begin(self, manifest: ProjectorManifest) -> None:
        """Makes room for exactly the spec's bytes: what a peer claims never decides how much memory is taken.

        Raises:
            AggregatorUntrusted: It is another projector than the round announced.
            AggregatorUntrusted: It is not as large as a projector of the spec.
        """
        if manifest.digest != self._round.base_digest:
            raise AggregatorUntrusted(
                f"Projector {manifest.number} is not the one that round {self._round.number} starts from. "
                "Nothing of it was kept.",
                check="digest",
                measured=manifest.digest.hex(),
                limit=self._round.base_digest.hex(),
            )
        size_bytes = layout(self._round.spec, Encoding.FP32).size_bytes
        if manifest.size_bytes != size_bytes:
            raise AggregatorUntrusted(
                f"Projector {manifest.number} has {manifest.size_bytes} bytes; one of the federation's spec has "
                f"{size_bytes}.",
                check="size",
                measured=manifest.size_bytes,
                limit=size_bytes,
            )
        room, self._room = self._room, None
        self.data = room if room is not None and len(room) == size_bytes else bytearray(size_bytes)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Puts the bytes in their place."""
        self.data[offset : offset + len(data)] = data
