"""A store that can be told to fail, over one that works: what a full disk or a bucket out of reach looks like."""

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.stores import Content, Entry, Store
from isthmus.errors import StoreUnavailable


@dataclass
class FaultyStore:
    """The five verbs; `fails` names those that fail now."""

    store: Store
    fails: frozenset[str] = frozenset()

    def full(self) -> None:
        """From now on nothing can be written."""
        self.fails = frozenset({"put", "put_if_absent"})

    def away(self) -> None:
        """From now on nothing works."""
        self.fails = frozenset({"get", "put", "put_if_absent", "list", "delete"})

    def back(self) -> None:
        """From now on everything works."""
        self.fails = frozenset()

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """See Store."""
        self._work("get")
        return self.store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """See Store."""
        self._work("put")
        self.store.put(key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """See Store."""
        self._work("put_if_absent")
        return self.store.put_if_absent(key, content)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See Store."""
        self._work("list")
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        """See Store."""
        self._work("delete")
        self.store.delete(key)

    def _work(self, verb: str) -> None:
        if verb in self.fails:
            raise StoreUnavailable(f"The store failed in {verb}; make room.", retry_after_seconds=3.0)
