"""The store in this process's memory, for tests and for trying things out: it is gone when the process is."""

import threading
from collections.abc import Iterator
from pathlib import Path

from aggregator.stores.contract import Content, Entry, require_key


class MemoryStore:
    """The five verbs over a dict; see `aggregator.stores.Store`. Safe to use from many threads."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """The bytes of `key` from `start`, at most `size` of them."""
        require_key(key)
        content = self._contents[key]
        return content[start : len(content) if size is None else start + size]

    def put(self, key: str, content: Content) -> None:
        """Makes `key` hold `content`."""
        require_key(key)
        data = _bytes_of(content)
        with self._lock:
            self._contents[key] = data

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Makes `key` hold `content` unless it exists; True when this call created it."""
        require_key(key)
        data = _bytes_of(content)
        with self._lock:
            created = key not in self._contents  # not by identity: one object may be put twice
            self._contents.setdefault(key, data)
        return created

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every key under `prefix`, sorted."""
        if prefix:
            require_key(prefix)
        with self._lock:
            contents = sorted(self._contents.items())
        within = f"{prefix}/" if prefix else ""
        return iter([Entry(key, len(data)) for key, data in contents if key.startswith(within)])

    def delete(self, key: str) -> None:
        """Removes `key` if it exists."""
        require_key(key)
        with self._lock:
            self._contents.pop(key, None)


def _bytes_of(content: Content) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else bytes(content)
