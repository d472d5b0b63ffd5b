"""What one replica takes on at once: uploads, pulls, waiting polls. Over a limit the caller is told when to come back.

Knows no federation and no store; gRPC only as something to cancel.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from aggregator.config import Limits
from isthmus.errors import Overloaded

_TAKEOVER_SECONDS = 5.0


class Cancellable(Protocol):
    """A call that can be cut off from another thread."""

    def cancel(self) -> bool:
        """Cuts it off; its request stream ends."""
        ...


@dataclass(slots=True)
class UploadSlot:
    """One upload in progress."""

    call: Cancellable
    silo: tuple[str, str]
    seen_at: float


class Slots:
    """Counts what is in progress, and cuts off uploads that stand still.

    Args:
        limits: How much of each.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, limits: Limits, *, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._uploads: dict[str, UploadSlot] = {}
        self._num_pulls = 0
        self._num_polls = 0

    @contextmanager
    def upload(self, push_id: str, *, silo: tuple[str, str], call: Cancellable) -> Iterator[Callable[[], None]]:
        """Holds a slot for one upload; yields what to call whenever bytes arrive.

        The newest stream of a push takes it over from an older one: a silo that comes back after a broken
        connection must not wait for the aggregator to notice the break.

        Args:
            push_id: Names the push.
            silo: (federation, silo), for the limit per silo.
            call: Is cut off when it stands still or is taken over.

        Raises:
            Overloaded: All slots, or all of this silo's, are taken.
        """
        slot = UploadSlot(call, silo, self._monotonic())
        with self._changed:
            self._take_over(push_id)
            self._require_room(silo)
            self._uploads[push_id] = slot
        try:
            yield lambda: setattr(slot, "seen_at", self._monotonic())
        finally:
            with self._changed:
                del self._uploads[push_id]
                self._changed.notify_all()

    @contextmanager
    def pull(self) -> Iterator[None]:
        """Holds a slot for one pull.

        Raises:
            Overloaded: All are taken.
        """
        with self._changed:
            if self._num_pulls >= self._limits.max_pulls:
                raise Overloaded(
                    f"The aggregator serves {self._limits.max_pulls} pulls at once, and all are taken.",
                    retry_after_seconds=2.0,
                    limit=self._limits.max_pulls,
                )
            self._num_pulls += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_pulls -= 1

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

    def cut_idle(self) -> None:
        """Cuts off uploads that have sent nothing for `upload_idle_seconds`; each stages its tail."""
        oldest = self._monotonic() - self._limits.upload_idle_seconds
        with self._changed:
            idle = [slot.call for slot in self._uploads.values() if slot.seen_at < oldest]
        for call in idle:
            call.cancel()

    def _take_over(self, push_id: str) -> None:
        older = self._uploads.get(push_id)
        if older is None:
            return
        older.call.cancel()
        if not self._changed.wait_for(lambda: push_id not in self._uploads, timeout=_TAKEOVER_SECONDS):
            raise Overloaded("An older stream of this push has not ended yet.", retry_after_seconds=_TAKEOVER_SECONDS)

    def _require_room(self, silo: tuple[str, str]) -> None:
        by_silo = Counter(slot.silo for slot in self._uploads.values())
        if len(self._uploads) >= self._limits.max_uploads:
            raise Overloaded(
                f"The aggregator takes {self._limits.max_uploads} uploads at once, and all are taken.",
                retry_after_seconds=2.0,
                limit=self._limits.max_uploads,
            )
        if by_silo[silo] >= self._limits.max_uploads_per_silo:
            raise Overloaded(
                f"Silo {silo[1]} has {by_silo[silo]} uploads open already; the aggregator takes "
                f"{self._limits.max_uploads_per_silo} of one silo at once.",
                retry_after_seconds=2.0,
                limit=self._limits.max_uploads_per_silo,
            )
