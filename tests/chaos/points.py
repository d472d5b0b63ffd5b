"""Named points of a replica and of an agent, and what can happen to a process at one of them."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from aggregator.advance import POINTS
from aggregator.stores import Content, Entry, Store
from isthmus.errors import StoreUnavailable
from tests.chaos.orders import Orders
from tests.chaos.shrunk import RETRY_SECONDS

Result = TypeVar("Result")

KINDS = ("segment", "contribution", "closing", "roster", "blob", "projector", "audit", "sweep")
"""What a replica writes to the store, in the order of a round; "sweep" is the removal of staged bytes."""

AGENT_STEPS = ("round", "pull", "train", "keep", "push", "settle")
"""What an agent does for a round, in order; "keep" puts the delta into its outbox."""

MASKED_KINDS = ("offer", "keys", "opening", "seed")
"""What a replica writes besides in a round with secure aggregation, in order."""

MASKED_STEPS = ("begin", "offer", "roster", "mask", "release", "note-reveal", "reveal")
"""What an agent does besides in such a round, in order: a key is made, and announced; the key roster asked for; a
vector masked, and let go; a reveal put on record, and made."""


def around(*names: str) -> tuple[str, ...]:
    """The points before and after each of these."""
    return tuple(f"{side}-{name}" for name in names for side in ("before", "after"))


STORE_POINTS = around(*KINDS)
ADVANCE_POINTS = tuple(f"at-{point}" for point in POINTS)
AGENT_POINTS = around(*AGENT_STEPS)
SYSTEM_CALL = "system-call"
LINE = "line"

SLOW_SECONDS = 0.3

_WRITTEN = {
    "uploads": "segment",
    "contributions": "contribution",
    "offers": "offer",
    "keys.json": "keys",
    "opening.json": "opening",
    "seeds": "seed",
    "closing.json": "closing",
    "roster.json": "roster",
    "blobs": "blob",
    "projectors": "projector",
    "audit": "audit",
}


def kind_of(key: str) -> str:
    """What is stored under a key; "other" for what no silo's round writes."""
    return next((kind for part, kind in _WRITTEN.items() if part in key.split("/")[2:]), "other")


class Points:
    """What this process does when it comes to a point.

    Args:
        orders: Tell what happens where.
        role: Of this process.
    """

    def __init__(self, orders: Orders, role: str) -> None:
        self._orders = orders
        self._role = role
        self._disk = threading.local()

    def reach(self, point: str) -> None:
        """Suffers what is ordered for this point.

        Raises:
            StoreUnavailable: The store is ordered to fail here, before or after it did its work.
        """
        order = self._orders.take(self._role, point)
        match order.fault if order else "":
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "term":
                os.kill(os.getpid(), signal.SIGTERM)
            case "error" | "lost":
                raise StoreUnavailable("The store failed, as it was told to.", retry_after_seconds=RETRY_SECONDS)
            case "slow":
                time.sleep(SLOW_SECONDS)
            case "full":
                self._disk.trouble = errno.ENOSPC
            case "eio":
                self._disk.trouble = errno.EIO

    def around(self, name: str, work: Callable[[], Result]) -> Result:
        """Does a piece of work between its two points."""
        self.reach(f"before-{name}")
        try:
            result = work()
        finally:
            self._disk.trouble = 0
        self.reach(f"after-{name}")
        return result

    def watch_disk(self) -> None:
        """Makes every call that changes the disk a point, and a sync fail while this thread's disk is in trouble."""
        for name in ("fsync", "link", "replace", "unlink"):
            setattr(os, name, self._watched(getattr(os, name), fails=name == "fsync"))

    def _watched(self, real: Callable[..., None], *, fails: bool) -> Callable[..., None]:
        def call(*arguments: object, **options: object) -> None:
            self.reach(SYSTEM_CALL)
            trouble = getattr(self._disk, "trouble", 0)
            if fails and trouble:
                raise OSError(trouble, os.strerror(trouble))
            real(*arguments, **options)

        return call


class PointStore:
    """A store whose every write stands between two points."""

    def __init__(self, store: Store, points: Points) -> None:
        self._store = store
        self._points = points

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """As the store."""
        return self._store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """As the store."""
        self._points.around(kind_of(key), lambda: self._store.put(key, content))

    def put_if_absent(self, key: str, content: Content) -> bool:
        """As the store."""
        return self._points.around(kind_of(key), lambda: self._store.put_if_absent(key, content))

    def list(self, prefix: str) -> Iterator[Entry]:
        """As the store."""
        return self._store.list(prefix)

    def delete(self, key: str) -> None:
        """As the store."""
        self._points.around("sweep", lambda: self._store.delete(key))
