"""Whether an upload moves. Decides from what arrived and from how long the aggregator waited for it.

Only seconds count in which the aggregator waits for the sender's next message: to read again what is staged, or to
store into a slow bucket, is not the sender's slowness.
"""

from collections import deque

from aggregator.config import Limits
from isthmus.errors import UploadTooSlow

GRACE_SECONDS = 10.0
"""A stream that has sent its header must send a byte within so long."""

_SMALL_CHUNK_BYTES = 16 << 10

_MARKS = 10
"""How many places in its window an average may begin at, beside the last message."""


class Pace:
    """How fast one stream's bytes come; instants are seconds of any clock that never goes back.

    The average goes back at least `slow_seconds`. A message shows when it is whole, so twice as many bytes as the
    largest one of that time had may be here already, and count: else a sender at the very limit, whose messages grow no
    faster than that, were cut off in the middle of one. Who means harm and knows it gets by with a third of the limit.

    Args:
        limits: `min_upload_bytes_per_second` and `slow_seconds`.
    """

    def __init__(self, limits: Limits) -> None:
        self._least = limits.min_upload_bytes_per_second
        self._seconds = limits.slow_seconds
        self._waited = 0.0
        self._waits_since: float | None = None
        self._moved = 0
        self._marks = deque(
            [(0.0, 0, _SMALL_CHUNK_BYTES)]
        )  # seconds waited, bytes moved, largest message; oldest first

    def waits(self, now: float) -> None:
        """The aggregator begins to wait for the next message."""
        self._waits_since = now

    def moved(self, num_bytes: int, now: float) -> None:
        """A message came, with so many bytes of the payload."""
        self._waited = self._waited_at(now)
        self._waits_since = None
        self._moved += num_bytes
        largest = num_bytes
        if len(self._marks) > 1 and self._marks[-1][0] - self._marks[-2][0] < self._seconds / _MARKS:
            largest = max(largest, self._marks.pop()[2])
        self._marks.append((self._waited, self._moved, largest))
        while len(self._marks) > 1 and self._marks[1][0] <= self._waited - self._seconds:
            self._marks.popleft()

    def verdict(self, now: float) -> UploadTooSlow | None:
        """Why the stream is to be cut off now; None while it moves, or while it is not the sender who is waited for."""
        if self._waits_since is None:
            return None
        waited = self._waited_at(now)
        if self._moved == 0:
            grace = min(GRACE_SECONDS, self._seconds)
            return _too_slow(0.0, waited, least=self._least) if waited >= grace else None
        if waited < self._seconds:
            return None
        begun, before, _ = max(mark for mark in self._marks if mark[0] <= waited - self._seconds)
        under_way = 2 * max(_SMALL_CHUNK_BYTES, *(largest for _, _, largest in self._marks))
        seconds, moved = waited - begun, self._moved - before
        return (
            _too_slow(moved / seconds, seconds, least=self._least)
            if moved + under_way < self._least * seconds
            else None
        )

    def _waited_at(self, now: float) -> float:
        return self._waited + (now - self._waits_since if self._waits_since is not None else 0.0)


def _too_slow(average: float, seconds: float, *, least: int) -> UploadTooSlow:
    return UploadTooSlow(
        f"The upload moved {average:.0f} bytes a second over the last {seconds:.1f} s; the aggregator asks for {least} "
        "(limits.min_upload_bytes_per_second). What arrived is kept: resume. A silo on a thin line may ask the "
        "operator to lower the limit.",
        check="speed",
        measuredBytesPerSecond=f"{average:.0f}",
        limitBytesPerSecond=least,
    )
