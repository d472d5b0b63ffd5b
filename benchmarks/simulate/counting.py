"""Counts what a process asks of its store."""

from collections import Counter
from collections.abc import Iterator

from aggregator.stores.contract import Content, Entry, Store


class CountingStore:
    """A store that counts the calls of each verb, and as `listed` the keys that its listings gave.

    Where threads count at once a few calls may be missed: a lock would be one more thing to wait for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.counts: Counter[str] = Counter()

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """As the store does."""
        self.counts["get"] += 1
        return self._store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """As the store does."""
        self.counts["put"] += 1
        self._store.put(key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """As the store does."""
        self.counts["put_if_absent"] += 1
        return self._store.put_if_absent(key, content)

    def list(self, prefix: str) -> Iterator[Entry]:
        """As the store does."""
        self.counts["list"] += 1
        found = [*self._store.list(prefix)]
        self.counts["listed"] += len(found)
        return iter(found)

    def delete(self, key: str) -> None:
        """As the store does."""
        self.counts["delete"] += 1
        self._store.delete(key)
