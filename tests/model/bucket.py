"""A bucket as a value: every content that it has had is known by a number, and a verb leads from one to another."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from aggregator.stores import Entry, Store
from aggregator.stores.memory import MemoryStore


class Absent(Enum):
    """The answer of `get` where there is no such key."""

    ABSENT = "absent"


Answer = bytes | bool | tuple[Entry, ...] | Absent | None
"""What a verb gives: bytes, whether a put created the key, entries, nothing."""

WRITING = ("put", "put_if_absent", "delete")
"""The verbs that may change the bucket."""


class Request(NamedTuple):
    """One call of one verb of the store, with its arguments."""

    verb: str
    key: str
    content: bytes = b""
    start: int = 0
    size: int | None = None


class Buckets:
    """The contents that a bucket may have, by number; what a request finds there and what it leaves behind."""

    def __init__(self) -> None:
        self._contents: list[Mapping[str, bytes]] = []
        self._numbers: dict[frozenset[tuple[str, bytes]], int] = {}
        self._steps: dict[tuple[int, Request], tuple[Answer, int]] = {}
        self._writes: dict[Request, int] = {}
        self._conflicts: dict[tuple[int, Request], int] = {}

    def number(self, contents: Mapping[str, bytes]) -> int:
        """The number of these contents."""
        known = self._numbers.setdefault(frozenset(contents.items()), len(self._contents))
        if known == len(self._contents):
            self._contents.append(contents)
        return known

    def contents(self, number: int) -> Mapping[str, bytes]:
        """What the bucket of that number holds."""
        return self._contents[number]

    def __len__(self) -> int:
        """How many different contents are known."""
        return len(self._contents)

    def step(self, number: int, request: Request) -> tuple[Answer, int]:
        """What the request gives on that bucket, and the bucket that it leaves."""
        known = self._steps.get((number, request))
        if known is None:
            store = store_of(self._contents[number])
            answer = perform(store, request)
            after = self.number(contents_of(store)) if request.verb in WRITING else number
            known = self._steps[number, request] = (answer, after)
        return known

    def know(self, request: Request) -> None:
        """Learns of a write that some actor may do."""
        if request.verb in WRITING and request not in self._writes:
            self._writes[request] = 1 << len(self._writes)
            self._conflicts.clear()

    def bit(self, request: Request) -> int:
        """What stands for this write in a set of writes; 0 for a verb that only reads."""
        return self._writes.get(request, 0)

    def may_change(self, request: Request) -> bool:
        """Whether any known write touches what the request looks at."""
        return any(_touches(write, request) for write in self._writes)

    def conflicts(self, number: int, request: Request) -> int:
        """The known writes that would change, on that bucket, anything of what the request looks at."""
        known = self._conflicts.get((number, request))
        if known is None:
            contents = self._contents[number]
            known = sum(bit for write, bit in self._writes.items() if _changes(contents, write, request))
            self._conflicts[number, request] = known
        return known


def perform(store: Store, request: Request) -> Answer:
    """Calls the verb on a store."""
    match request.verb:
        case "get":
            try:
                return store.get(request.key, start=request.start, size=request.size)
            except KeyError:
                return Absent.ABSENT
        case "list":
            return tuple(store.list(request.key))
        case "put_if_absent":
            return store.put_if_absent(request.key, request.content)
        case "put":
            return store.put(request.key, request.content)
        case _:
            return store.delete(request.key)


def store_of(contents: Mapping[str, bytes]) -> MemoryStore:
    """A store that holds these contents."""
    store = MemoryStore()
    for key, content in contents.items():
        store.put(key, content)
    return store


def contents_of(store: Store) -> dict[str, bytes]:
    """All that a store holds."""
    return {entry.key: store.get(entry.key) for entry in store.list("")}


def _touches(write: Request, request: Request) -> bool:
    """Whether the write is to the request's key, or to one under a listing's prefix."""
    return write.key == request.key or (request.verb == "list" and write.key.startswith(f"{request.key}/"))


def _changes(contents: Mapping[str, bytes], write: Request, request: Request) -> bool:
    """Whether the write would change what the request looks at."""
    if not _touches(write, request):
        return False
    standing = contents.get(write.key)
    match write.verb:
        case "put_if_absent":
            return standing is None
        case "put":
            return standing != write.content
        case _:
            return standing is not None
