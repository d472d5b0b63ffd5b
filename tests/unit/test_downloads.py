"""A projector's way here: broken streams are continued, and what arrives is either whole or nothing."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from isthmus.contribution import Encoding
from isthmus.downloads import Download, IntoMemory
from isthmus.errors import (
    AggregatorUnreachable,
    AggregatorUntrusted,
    IsthmusError,
    PayloadTooLarge,
    ProjectorUnknown,
)
from isthmus.federation import FederationState, TrainingPlan
from isthmus.manifest import ProjectorManifest
from isthmus.payload import layout
from isthmus.retry import Patience, Waiter
from isthmus.round import Round
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.v1 import aggregator_pb2, projector_pb2
from isthmus.wire import manifest_to_proto

PROJECTOR = bytes(range(256)) * 4
MANIFEST = ProjectorManifest(
    number=2,
    digest=hashlib.sha256(PROJECTOR).digest(),
    size_bytes=len(PROJECTOR),
    cut_at=datetime(2026, 1, 1, tzinfo=UTC),
)
SPEC = ProjectorSpec((TensorSpec("w", "F32", (4,)),))

Step = int | IsthmusError
"""A stream's next part: that many bytes, or the error it breaks with."""


class Collected:
    """A sink that joins what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def begin(self, manifest: ProjectorManifest) -> None:
        """Takes any projector."""

    def write(self, offset: int, data: bytes) -> None:
        """Takes the next bytes."""
        assert len(self.data) == offset
        self.data += data


class Replica:
    """Streams the projector by a script: one list of steps for each stream that is opened."""

    def __init__(
        self, *scripts: list[Step], manifest: ProjectorManifest = MANIFEST, content: bytes = PROJECTOR
    ) -> None:
        self.scripts = list(scripts)
        self.manifest = manifest
        self.content = content
        self.offsets: list[int] = []

    def stream(self, offset: int) -> Iterator[aggregator_pb2.PullProjectorResponse]:
        """One stream from the offset, as the next script says."""
        self.offsets.append(offset)
        yield aggregator_pb2.PullProjectorResponse(header=manifest_to_proto(self.manifest))
        for step in self.scripts.pop(0):
            if isinstance(step, IsthmusError):
                raise step
            chunk = projector_pb2.Chunk(offset_bytes=offset, data=self.content[offset : offset + step])
            offset += step
            yield aggregator_pb2.PullProjectorResponse(chunk=chunk)


def pull(replica: Replica) -> bytes:
    """Pulls from the replica, without waiting between streams."""
    sink = Collected()
    waiter = Waiter(Patience(), clock=lambda: 0.0, sleep=lambda s: None)
    Download(sink, waiter=waiter, report=lambda done, size: None, judge=lambda manifest: None).run(replica.stream)
    return sink.data


def open_round(**changes: object) -> Round:
    """A round that starts from a projector of one tensor of four values."""
    plan = TrainingPlan.model_construct()
    current = Round("tiny", 3, FederationState.RUNNING, MANIFEST.digest, 0, SPEC, Encoding.FP32, plan, 8, 100)
    return replace(current, **changes)


def test_broken_streams_are_continued() -> None:
    """However often the stream breaks, each one goes on where the last stopped and no byte comes twice."""
    away = AggregatorUnreachable("gone")
    replica = Replica([300, away], [away], [24, 700 - 24, away], [324])

    assert pull(replica) == PROJECTOR
    assert replica.offsets == [0, 300, 300, 1000]


def test_stream_that_just_ends_is_continued() -> None:
    """A stream that ends normally before all bytes are there is no projector: it is continued."""
    replica = Replica([1000], [24])

    assert pull(replica) == PROJECTOR
    assert replica.offsets == [0, 1000]


def test_refusals_are_not_repeated() -> None:
    """An answer that would be the same again is raised at once."""
    replica = Replica([ProjectorUnknown("There is no projector 9.")], [1024])

    with pytest.raises(ProjectorUnknown):
        pull(replica)

    assert len(replica.offsets) == 1


def test_other_bytes_than_announced_are_refused() -> None:
    """A projector whose bytes do not have the manifest's digest is refused as a whole."""
    with pytest.raises(AggregatorUntrusted, match="do not have the digest"):
        pull(Replica([1024], content=PROJECTOR[:-1] + b"!"))


def test_more_bytes_than_announced_are_refused() -> None:
    """A stream that goes on beyond the announced size is cut off at the first byte too many."""
    with pytest.raises(PayloadTooLarge):
        pull(Replica([1024, 1], content=PROJECTOR + b"!"))


def test_projector_that_changes_between_streams_is_refused() -> None:
    """Two halves of two projectors never become one."""
    replica = Replica([512, AggregatorUnreachable("gone")], [512])
    whole = replica.stream

    def stream(offset: int) -> Iterator[aggregator_pb2.PullProjectorResponse]:
        if offset:
            replica.manifest = replace(MANIFEST, digest=b"\2" * 32)
        return whole(offset)

    replica.stream = stream

    with pytest.raises(AggregatorUntrusted, match="changed while it was pulled"):
        pull(replica)


def test_memory_is_taken_for_the_spec_alone() -> None:
    """A peer that announces a huge projector is refused before any room is made for it."""
    sink = IntoMemory(open_round())

    with pytest.raises(AggregatorUntrusted, match="of the federation's spec has"):
        sink.begin(replace(MANIFEST, size_bytes=1 << 60))

    assert len(sink.data) == 0


def test_projector_of_another_round_is_refused() -> None:
    """Only the projector that the round starts from is taken."""
    with pytest.raises(AggregatorUntrusted, match="Nothing of it was kept"):
        IntoMemory(open_round(base_digest=b"\3" * 32)).begin(MANIFEST)


def test_memory_sink_keeps_the_bytes() -> None:
    """What is written in order stands in order."""
    sink = IntoMemory(open_round())
    size = layout(SPEC, Encoding.FP32).size_bytes

    sink.begin(replace(MANIFEST, size_bytes=size))
    sink.write(0, b"a" * 8)
    sink.write(8, b"b" * (size - 8))

    assert bytes(sink.data) == b"a" * 8 + b"b" * (size - 8)
