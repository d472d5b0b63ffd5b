"""A store that can be told to fail, over one that works: what a full disk or a bucket out of reach looks like.

Tests of one process set its `faults`; processes that a test drives read theirs from a file, see `ControlledStore`.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aggregator.stores import Content, Entry, Store
from isthmus.errors import StoreFull, StoreUnavailable

VERBS = frozenset({"get", "put", "put_if_absent", "list", "delete"})
WRITES = frozenset({"put", "put_if_absent", "delete"})
CREATES = frozenset({"put", "put_if_absent"})


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong with a store, until it is told otherwise.

    Attributes:
        fails: Verbs that fail and have no effect.
        lost: Verbs that take effect and whose answer is lost: the caller sees them fail.
        slow_seconds: How long every verb takes more.
        every: Of the calls that `fails` and `lost` name, only each such one is hit; 1: all of them.
        within: Only keys that contain this text are hit; empty: all keys.
        times: After so many hits everything works again; None: never by itself.
        full: What fails does so for want of room.
    """

    fails: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    slow_seconds: float = 0.0
    every: int = 1
    within: str = ""
    times: int | None = None
    full: bool = False

    def to_json(self) -> str:
        """The text of a control file."""
        return json.dumps(asdict(self) | {"fails": sorted(self.fails), "lost": sorted(self.lost)})

    @classmethod
    def from_json(cls, text: str) -> "Faults":
        """The faults that `to_json` wrote."""
        found = json.loads(text)
        return cls(**found | {name: frozenset(found[name]) for name in ("fails", "lost")})


FULL = Faults(fails=CREATES, full=True)
"""Nothing can be written, all else works."""

AWAY = Faults(fails=VERBS)
"""Nothing works."""


@dataclass
class FaultyStore:
    """The five verbs, of which those fail that `faults` names. Safe to use from many threads.

    Attributes:
        store: The store that works.
        faults: What goes wrong now; set it at any time.
        hits: How many calls were hit since the faults were set: a test asserts that its fault really happened.
    """

    store: Store
    faults: Faults = Faults()
    hits: int = 0
    _seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def suffer(self, faults: Faults) -> None:
        """From now on these faults, counted anew."""
        with self._lock:
            self.faults, self.hits, self._seen = faults, 0, 0

    def full(self) -> None:
        """From now on nothing can be written."""
        self.suffer(FULL)

    def away(self) -> None:
        """From now on nothing works."""
        self.suffer(AWAY)

    def back(self) -> None:
        """From now on everything works."""
        self.suffer(Faults())

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """See Store."""
        with self._work("get", key):
            return self.store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """See Store."""
        with self._work("put", key):
            self.store.put(key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """See Store."""
        with self._work("put_if_absent", key):
            return self.store.put_if_absent(key, content)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See Store."""
        with self._work("list", prefix):
            return self.store.list(prefix)

    def delete(self, key: str) -> None:
        """See Store."""
        with self._work("delete", key):
            self.store.delete(key)

    @contextmanager
    def _work(self, verb: str, key: str) -> Iterator[None]:
        faults = self.faults
        if faults.slow_seconds:
            time.sleep(faults.slow_seconds)
        named = verb in faults.fails | faults.lost and faults.within in key
        hit = named and self._hits(faults)
        if hit and verb in faults.fails:
            failure = StoreFull if faults.full else StoreUnavailable
            raise failure(f"The store failed in {verb}; make room.", retry_after_seconds=3.0)
        yield
        if hit:
            raise StoreUnavailable(f"The store's answer to {verb} was lost.", retry_after_seconds=3.0)

    def _hits(self, faults: Faults) -> bool:
        with self._lock:
            self._seen += 1
            over = faults.times is not None and self.hits >= faults.times
            if over or self._seen % faults.every:
                return False
            self.hits += 1
            return True


class ControlledStore(FaultyStore):
    """A faulty store of another process: before each verb it takes the faults that its control file names.

    The file is replaced, not rewritten (`control`), so it is whole whenever it is read. No file: everything works.
    """

    def __init__(self, store: Store, control_file: Path) -> None:
        super().__init__(store)
        self._control_file = control_file
        self._text = ""

    @contextmanager
    def _work(self, verb: str, key: str) -> Iterator[None]:
        try:
            text = self._control_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        if text != self._text:
            self._text = text
            self.suffer(Faults.from_json(text) if text else Faults())
        with super()._work(verb, key):
            yield


def control(control_file: Path, faults: Faults) -> None:
    """Tells every process that has a `ControlledStore` of this file what goes wrong from now on."""
    aside = control_file.with_suffix(".new")
    aside.write_text(faults.to_json(), encoding="utf-8")
    aside.replace(control_file)


def controlled(open_store: Callable[[str], Store], control_file: Path) -> Callable[[str], Store]:
    """`open_store` as a launcher of processes replaces it: what it opens obeys the control file."""
    return lambda url: ControlledStore(open_store(url), control_file)
