"""Calls whose first message has not come yet. Each holds a thread, and whoever called need not be anybody we know.

So there are few at once, and the oldest gives way: an honest caller's first message comes with the call itself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

OPENING_SECONDS = 10.0
"""A call that sends no first message for so long is cut off."""


class Cancellable(Protocol):
    """A call that can be cut off from another thread."""

    def cancel(self) -> bool:
        """Cuts it off; its request stream ends."""
        ...


class Openings:
    """Counts what is opening, and cuts off what takes too long or is in a newer call's way.

    Args:
        limit: How many at once.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, limit: int, *, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._opening: dict[object, tuple[float, Cancellable]] = {}  # oldest first

    @contextmanager
    def hold(self, call: Cancellable) -> Iterator[None]:
        """Holds a place for one call; never refuses it."""
        place = object()
        with self._lock:
            in_the_way = self._take(len(self._opening) - self._limit + 1)
            self._opening[place] = (self._monotonic(), call)
        _cut(in_the_way)
        try:
            yield
        finally:
            with self._lock:
                self._opening.pop(place, None)

    def cut_idle(self) -> None:
        """Cuts off what has been opening for too long."""
        since = self._monotonic() - OPENING_SECONDS
        with self._lock:
            idle = self._take(sum(begun_at < since for begun_at, _ in self._opening.values()))
        _cut(idle)

    def _take(self, count: int) -> list[Cancellable]:
        places = list(self._opening)[: max(count, 0)]
        return [self._opening.pop(place)[1] for place in places]


def _cut(calls: list[Cancellable]) -> None:
    for call in calls:
        call.cancel()
