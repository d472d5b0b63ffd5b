"""How many uploads one silo may begin in an hour, at one replica. In memory: n replicas let n times as many through."""

import threading
from collections.abc import Callable, Sequence

from isthmus.errors import RateLimited

HOUR = 3600.0

MAX_SILOS = 4096
"""Silos whose uploads are remembered; of more, those are forgotten that have begun none for the longest time."""


def require_rate(begun: Sequence[float], *, silo: str, limit: int, now: float) -> None:
    """Checks that a silo may begin one more upload.

    Args:
        begun: When it began others, oldest first, in seconds; those of more than an hour ago do not count.
        silo: Its name.
        limit: How many it may begin in an hour, at least 1.
        now: The instant, of the same clock.

    Raises:
        RateLimited: It may not yet; says when.
    """
    recent = [at for at in begun if now - at < HOUR]
    if len(recent) >= limit:
        wait = recent[-limit] + HOUR - now
        raise RateLimited(
            f"Silo {silo} began {len(recent)} uploads within the hour; the aggregator takes {limit} "
            f"(limits.max_uploads_per_hour). The next one may begin in {wait:.0f} s; those that began may be resumed.",
            retry_after_seconds=wait,
            check="uploads_per_hour",
            measured=len(recent),
            limit=limit,
        )


class UploadRate:
    """Counts what silos begin.

    Args:
        limit: How many uploads one silo may begin in an hour.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, limit: int, *, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._begun: dict[tuple[str, str], dict[str, float]] = {}  # by silo, the longest silent first; when, by push

    def begin(self, silo: tuple[str, str], push_id: str, *, resumed: bool) -> None:
        """Counts an upload, unless it is one that has begun before.

        Args:
            silo: (federation, silo).
            push_id: Names the push.
            resumed: Bytes of it are durable, so it has begun before, here or elsewhere.

        Raises:
            RateLimited: It would be one too many; it is not counted.
        """
        with self._lock:
            now = self._monotonic()
            self._forget(now)
            begun = {push: at for push, at in self._begun.get(silo, {}).items() if now - at < HOUR}
            if resumed or push_id in begun:
                return
            require_rate(tuple(begun.values()), silo=silo[1], limit=self._limit, now=now)
            self._begun.pop(silo, None)
            self._begun[silo] = begun | {push_id: now}

    def _forget(self, now: float) -> None:
        """Silos that began nothing within the hour, and those above `MAX_SILOS`."""
        for silo, begun in list(self._begun.items()):
            if now - max(begun.values()) < HOUR and len(self._begun) <= MAX_SILOS:
                return
            del self._begun[silo]
