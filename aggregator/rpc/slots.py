"""What one replica takes on at once: uploads, pulls, creations, waiting polls.

Over a limit the caller is told when to come back. Knows no federation and no store; gRPC only as something to cancel.
"""

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aggregator.config import MAX_CREATIONS, Limits
from aggregator.rpc.cuttable import Cuttable
from aggregator.rpc.openings import Cancellable
from aggregator.rpc.pace import Pace
from isthmus.errors import Overloaded, UploadTooSlow
from isthmus.v1 import projector_pb2

Chunks = Iterator[projector_pb2.Chunk]

TAKEOVER_SECONDS = 5.0
"""How long a new stream of a push waits for the older one to stage its tail."""

BUSY_SECONDS = 2.0
"""When a caller that found no room should come back."""


class Kind(enum.StrEnum):
    """What a call is at."""

    UPLOAD = "uploads"
    PULL = "pulls"
    CREATION = "creations of federations"


@dataclass(slots=True, eq=False)
class Held:
    """One call in progress."""

    kind: Kind
    call: Cancellable
    silo: tuple[str, str]
    push_id: str
    seen_at: float


@dataclass(slots=True, eq=False)
class HeldUpload(Held):
    """One upload in progress: how fast it comes, and why it was cut off, once it was."""

    call: Cuttable
    pace: Pace
    too_slow: UploadTooSlow | None = None


class Slots:
    """Counts what is in progress, and cuts off what stands still.

    Args:
        limits: How much of each.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, limits: Limits, *, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._held: set[Held] = set()
        self._num_polls = 0

    @contextmanager
    def upload(self, push_id: str, *, silo: tuple[str, str], call: Cuttable) -> Iterator[Callable[[Chunks], Chunks]]:
        """Holds a slot for one upload; yields what its chunks must pass, so that it is seen how fast they come.

        The newest stream of a push takes it over from an older one: a silo that comes back after a broken
        connection must not wait for the aggregator to notice the break.

        Args:
            push_id: Names the push.
            silo: (federation, silo), for the limit per silo.
            call: Is cut off when it is too slow or is taken over.

        Raises:
            Overloaded: All slots, or all of this silo's, are taken.
            UploadTooSlow (out of the chunks): It was cut off; `call` was answered so.
        """
        held = HeldUpload(Kind.UPLOAD, call, silo, push_id, self._monotonic(), Pace(self._limits))
        with self._hold(held, limit=self._limits.max_uploads):
            yield lambda chunks: self._paced(chunks, held)

    @contextmanager
    def pull(self, call: Cancellable) -> Iterator[Callable[[], None]]:
        """Holds a slot for one pull; yields what to call whenever bytes were taken.

        Raises:
            Overloaded: All are taken.
        """
        held = Held(Kind.PULL, call, ("", ""), "", self._monotonic())
        with self._hold(held, limit=self._limits.max_pulls) as alive:
            yield alive

    @contextmanager
    def creation(self, call: Cancellable) -> Iterator[Callable[[], None]]:
        """Holds a slot for one creation of a federation; yields what to call whenever bytes arrive.

        Raises:
            Overloaded: All are taken.
        """
        held = Held(Kind.CREATION, call, ("", ""), "", self._monotonic())
        with self._hold(held, limit=MAX_CREATIONS) as alive:
            yield alive

    @contextmanager
    def poll(self) -> Iterator[bool]:
        """Holds a slot for one waiting poll where one is free; yields whether the caller may wait."""
        with self._changed:
            free = self._num_polls < self._limits.max_waiting_polls
            self._num_polls += free
        try:
            yield free
        finally:
            with self._changed:
                self._num_polls -= free

    @property
    def num_held(self) -> int:
        """Uploads, pulls and creations in progress."""
        with self._changed:
            return len(self._held)

    @property
    def held_by_kind(self) -> dict[str, int]:
        """What is in progress, by what metrics call it."""
        with self._changed:
            kinds = [held.kind.name.lower() + "s" for held in self._held]
            return {**{kind: kinds.count(kind) for kind in ("uploads", "pulls", "creations")}, "polls": self._num_polls}

    def cut_idle(self) -> None:
        """Cuts off whatever has moved no byte for too long, and uploads that are too slow; those stage their tails."""
        now, limits = self._monotonic(), self._limits
        with self._changed:
            uploads = [held for held in self._held if isinstance(held, HeldUpload)]
            others = self._held.difference(uploads)
            idle = [held.call for held in others if now - held.seen_at > limits.idle_seconds]
            slow = [(held, held.pace.verdict(now)) for held in uploads if held.too_slow is None]
            for held, verdict in slow:
                held.too_slow = verdict
        for call in idle:
            call.cancel()
        for held, verdict in slow:
            if verdict is not None:
                held.call.cut(verdict)

    def _paced(self, chunks: Chunks, held: HeldUpload) -> Chunks:
        while True:
            with self._changed:
                held.pace.waits(self._monotonic())
            chunk = None
            try:
                chunk = next(chunks, None)
            finally:
                with self._changed:  # nobody waits any more, also once the stream has ended
                    held.pace.moved(len(chunk.data) if chunk is not None else 0, self._monotonic())
                if held.too_slow is not None:  # that ended the stream, whatever it looks like from here
                    raise held.too_slow
            if chunk is None:
                return
            yield chunk

    @contextmanager
    def _hold(self, held: Held, *, limit: int) -> Iterator[Callable[[], None]]:
        with self._changed:  # taken over and held in one step: of streams that come together one goes on
            if held.kind is Kind.UPLOAD:
                self._take_over(held.push_id)
            self._require_room(held, limit)
            self._held.add(held)
        try:
            yield lambda: setattr(held, "seen_at", self._monotonic())
        finally:
            with self._changed:
                self._held.remove(held)
                self._changed.notify_all()

    def _streams_of(self, push_id: str) -> list[Held]:
        return [held for held in self._held if held.push_id == push_id]

    def _is_cut_off(self, push_id: str) -> bool:
        """Whether no stream of the push is left; whatever is, also what came meanwhile, is cut off."""
        streams = self._streams_of(push_id)
        for older in streams:
            older.call.cancel()
        return not streams

    def _take_over(self, push_id: str) -> None:
        if not self._changed.wait_for(lambda: self._is_cut_off(push_id), timeout=TAKEOVER_SECONDS):
            raise Overloaded("An older stream of this push has not ended yet.", retry_after_seconds=TAKEOVER_SECONDS)

    def _require_room(self, wanted: Held, limit: int) -> None:
        alike = [held for held in self._held if held.kind is wanted.kind]
        if len(alike) >= limit:
            raise Overloaded(
                f"The aggregator takes {limit} {wanted.kind} at once, and all are taken.",
                retry_after_seconds=BUSY_SECONDS,
                limit=limit,
            )
        own, most = sum(held.silo == wanted.silo for held in alike), self._limits.max_uploads_per_silo
        if wanted.kind is Kind.UPLOAD and own >= most:
            raise Overloaded(
                f"Silo {wanted.silo[1]} has {own} uploads open; the aggregator takes {most} of one silo at once.",
                retry_after_seconds=BUSY_SECONDS,
                limit=most,
            )
