"""One payload on its way in: chunks become judged, staged segments. Knows no RPC and no round.

Whatever ends the stream, what arrived is staged, so any replica can continue. Only a refusal drops it; a payload's
header that could say something foreign is not staged before it was judged.
"""

import logging
import mmap
from collections.abc import Iterator
from typing import Protocol

import grpc

from aggregator.admission.payload import Admitted, PayloadInspection
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Segment, Upload
from aggregator.ledger.keys import named_by
from isthmus.chunks import SEGMENT_BYTES, require_next
from isthmus.errors import (
    FinishMissing,
    HeaderInvalid,
    IsthmusError,
    PayloadDigestMismatch,
    RefusedDelta,
    StoreFull,
    StoreUnavailable,
)
from isthmus.logs import Event, log_event
from isthmus.v1 import projector_pb2

_LOG = logging.getLogger(__name__)


class PartMessage(Protocol):
    """PushDeltaRequest or CreateFederationRequest: a oneof whose parts after the first are chunks, then finish."""

    @property
    def chunk(self) -> projector_pb2.Chunk:
        """The chunk, where it is one."""
        ...

    def WhichOneof(self, oneof_group: str, /) -> str | None:  # protobuf's name
        """Which part it is."""
        ...


def chunks_until_finish(messages: Iterator[PartMessage]) -> Iterator[projector_pb2.Chunk]:
    """The chunks of a stream, in order; ends normally at `finish` alone.

    The end of the stream proves nothing: grpcio ends it normally when the caller dies, cancels or runs out of time.

    Raises:
        FinishMissing: The stream ended without `finish`.
        HeaderInvalid: A part is neither chunk nor finish.
    """
    for message in messages:
        part = message.WhichOneof("part")
        if part == "finish":
            return
        if part != "chunk":
            raise HeaderInvalid(
                f"After its first part a stream holds chunks and one finish, not {part or 'an empty part'}.",
                check="order",
                measured=part or "empty",
            )
        yield message.chunk
    raise FinishMissing("The stream ended without the finish part. What arrived is kept; resume the upload.")


class UploadSession:
    """One stream's share of one upload: resumes what is staged, and stages what comes.

    Args:
        ledger: Where segments are staged.
        upload: Names the upload.
        inspection: Sees every byte before it is stored.
        size_bytes: Of the whole payload.

    Attributes:
        segments: What is durable, in order and without a gap.
    """

    def __init__(self, ledger: Ledger, upload: Upload, inspection: PayloadInspection, *, size_bytes: int) -> None:
        self._ledger = ledger
        self._upload = upload
        self._inspection = inspection
        self._size_bytes = size_bytes
        # Filled again and again: fresh memory costs more. Whole pages: a disk takes them as they are.
        self._buffer = mmap.mmap(-1, min(SEGMENT_BYTES, size_bytes))
        self._held = 0
        self.segments: list[Segment] = []

    @property
    def committed_bytes(self) -> int:
        """Bytes that are durable, from the payload's start."""
        return self.segments[-1].offset_bytes + self.segments[-1].size_bytes if self.segments else 0

    def receive(self, chunks: Iterator[projector_pb2.Chunk]) -> Admitted:
        """Takes the stream to its end and judges the whole.

        Args:
            chunks: As `chunks_until_finish` gives them.

        Raises:
            RefusedDelta: The payload is wrong; its staged bytes are dropped.
            UploadBroken: The stream ended early, skipped bytes or was too slow; what arrived is staged.
            StoreUnavailable, StoreFull: What is staged may be less than what arrived.
        """
        try:
            self._resume()
            for chunk in chunks:
                self._take(chunk.offset_bytes, chunk.data)
            self._stage()
            return self._inspection.finish()
        except RefusedDelta:
            self._ledger.drop_upload(self._upload)
            raise
        except (StoreUnavailable, StoreFull):
            raise
        except (IsthmusError, grpc.RpcError) as error:
            self._stage()
            self._log_broken(getattr(error, "reason", "") or "the caller went away")
            raise

    def _resume(self) -> None:
        """Shows the inspection again what earlier streams staged, one segment in memory at a time.

        Of too many runs it makes fewer: they are staged once more, joined. The old ones stay, so that what is durable
        never gets shorter; the longest chain then prefers the new ones.
        """
        staged = self._ledger.committed_segments(self._upload)
        joining = len(staged) > max_segments(self._size_bytes)
        for segment in staged:
            try:
                data = self._ledger.read_segment(segment)
            except KeyError:  # the round was published, and swept, since the listing; the commit will say so
                return
            if joining:
                self._judge_and_hold(memoryview(data))
            else:
                self._inspection.feed(data)
                _require_name(segment, self._inspection.digest)
                self.segments.append(segment)
        self._stage()

    def _take(self, offset_bytes: int, data: bytes | memoryview) -> None:
        position = self.committed_bytes + self._held
        require_next(offset_bytes, len(data), committed_bytes=position, size_bytes=self._size_bytes)
        self._judge_and_hold(memoryview(data))

    def _judge_and_hold(self, data: memoryview) -> None:
        """Takes bytes up to each segment's end, where the digest so far names it, and stages what they complete."""
        while data:
            part = data[: len(self._buffer) - self._held]
            self._inspection.feed(part)
            self._buffer[self._held : self._held + len(part)] = part
            self._held += len(part)
            data = data[len(part) :]
            if self._held == len(self._buffer):
                self._stage()
            if self._held == len(self._buffer):  # a header that is not judged to its end waits here
                self._grow()

    def _grow(self) -> None:
        larger = mmap.mmap(-1, 2 * self._held)
        larger[: self._held] = self._buffer[:]
        self._buffer = larger

    def _stage(self) -> None:
        """Makes what came durable, but no header that says what ours does not, and was not judged to its end."""
        if self._held and self._inspection.may_be_kept:
            data, self._held = memoryview(self._buffer)[: self._held], 0
            offset = self.committed_bytes
            digest = self._inspection.digest
            self.segments.append(
                self._ledger.stage_segment(self._upload, offset_bytes=offset, data=data, digest=digest)
            )

    def _log_broken(self, why: str) -> None:
        log_event(
            _LOG,
            Event.UPLOAD_BROKEN,
            federation=self._upload.federation,
            round=self._upload.round,
            push_id=self._upload.push_id[:12],
            committed_bytes=self.committed_bytes,
            size_bytes=self._size_bytes,
            why=why,
        )


def _require_name(segment: Segment, digest: bytes) -> None:
    """Checks that all bytes up to a staged segment's end are those that it names: what is committed can be verified.

    Raises:
        PayloadDigestMismatch: They are not: the store changed them, or two payloads were staged under one digest.
    """
    (_, named), measured = named_by(segment.key), digest.hex()
    if measured != named:
        end = segment.offset_bytes + segment.size_bytes
        raise PayloadDigestMismatch(
            f"The first {end} bytes that are staged of this payload have SHA-256 {measured[:12]} and were staged as "
            f"{named[:12]}: they changed since, or come of two payloads. Push it again from the start.",
            check="DIGEST_MISMATCH",
            measured=measured,
            limit=named,
        )


def max_segments(size_bytes: int) -> int:
    """Most runs that one upload is taken from; a stream that broke more often than that has them joined first.

    Otherwise each break would leave a segment of its own, and a contribution would list millions of them.
    """
    return 64 + size_bytes // 65_536
