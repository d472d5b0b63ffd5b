"""A store that is timed: the five verbs of the one behind it, unchanged."""

from collections.abc import Iterator
from pathlib import Path

from aggregator.metrics.meters import Meters
from aggregator.stores import Content, Entry, Store


class TimedStore:
    """The five verbs over another store; see `aggregator.stores.Store`. Adds nothing but the time they took.

    Args:
        store: What does the work.
        meters: What counts it.
    """

    def __init__(self, store: Store, meters: Meters) -> None:
        self._store = store
        self._meters = meters

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """The bytes of `key` from `start`, at most `size` of them."""
        with self._meters.stored("get"):
            data = self._store.get(key, start=start, size=size)
        self._meters.read(len(data))
        return data

    def put(self, key: str, content: Content) -> None:
        """Makes `key` hold `content`."""
        with self._meters.stored("put", _size_of(content)):
            self._store.put(key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Makes `key` hold `content` unless it exists; True when this call created it."""
        with self._meters.stored("put_if_absent", _size_of(content)):
            return self._store.put_if_absent(key, content)

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every key under `prefix`, sorted."""
        with self._meters.stored("list"):
            return self._store.list(prefix)

    def delete(self, key: str) -> None:
        """Removes `key` if it exists."""
        with self._meters.stored("delete"):
            self._store.delete(key)


def _size_of(content: Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)
