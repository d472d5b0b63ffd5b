"""`isthmus verify` while the federation goes on: whatever happens between two of its reads breaks no link."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger
from aggregator.stores import Content, Entry, Store
from aggregator.stores.memory import MemoryStore
from tests.ledgers import NAME, START, after, contribute, found, staged, step
from tests.verifying import store_with, verdict_of

EVERY = 3
"""Verbs between two moments at which something happens: reads of every kind are met, in a short time."""


class Disturbed:
    """A store in which something happens right before the n-th verb."""

    def __init__(self, store: Store, *, at: int, event: Callable[[], None]) -> None:
        self._store = store
        self._event = event
        self._at = at
        self.verbs = 0

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """As the store."""
        self._begin()
        return self._store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """As the store."""
        self._begin()
        self._store.put(key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """As the store."""
        self._begin()
        return self._store.put_if_absent(key, content)

    def list(self, prefix: str) -> Iterator[Entry]:
        """As the store."""
        self._begin()
        return self._store.list(prefix)

    def delete(self, key: str) -> None:
        """As the store."""
        self._begin()
        self._store.delete(key)

    def _begin(self) -> None:
        self.verbs += 1
        if self.verbs == self._at:
            self._event()


@pytest.fixture(scope="module")
def running() -> dict[str, bytes]:
    """A federation with a published round, and two of three deltas of the next one."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    with tempfile.TemporaryDirectory() as scratch:
        for silo in "abc":
            contribute(ledger, silo)
        step(ledger, Path(scratch))
    for silo in "ab":
        contribute(ledger, silo, round_number=2)
    staged(ledger, "c", round_number=2)
    return {entry.key: store.get(entry.key) for entry in store.list("")}


def goes_on(store: Store) -> None:
    """The open round is cut; a delta comes too late for it; the next round begins."""
    ledger = Ledger(store)
    with tempfile.TemporaryDirectory() as scratch:
        step(ledger, Path(scratch), now=after(500))
    ledger.record_admission(contribute(ledger, "c", round_number=2))
    ledger.record_admission(contribute(ledger, "c", round_number=3))


def is_tidied(store: Store) -> None:
    """The deltas of the published round are removed."""
    for _ in tidy(Ledger(store), NAME, now=START + timedelta(days=40), by="a test"):
        pass


@pytest.mark.parametrize("event", [goes_on, is_tidied])
def test_whatever_happens_meanwhile(running: dict[str, bytes], event: Callable[[Store], None]) -> None:
    """At whatever moment a round is published or its deltas go, verifying finds no broken link."""
    at = 1
    while True:
        store = store_with(running)
        disturbed = Disturbed(store, at=at, event=lambda store=store: event(store))  # type: ignore[misc]
        assert (at, ()) == (at, verdict_of(disturbed).broken)
        if disturbed.verbs < at:
            break
        at += EVERY
    assert at > 100
