"""How much of the store one federation may take."""

from collections.abc import Iterator

import pytest

from aggregator.ledger import Ledger
from aggregator.rpc.room import REMEMBERED_SECONDS, StoreRoom, require_room
from aggregator.stores import Entry
from aggregator.stores.memory import MemoryStore
from isthmus.errors import StoreFull


@pytest.mark.parametrize(("stored", "wanted", "limit"), [(0, 100, 100), (99, 1, 100), (10**15, 10**15, 0)])
def test_upload_that_fits_may_begin(stored: int, wanted: int, limit: int) -> None:
    """Up to the very limit there is room; without a limit there always is."""
    require_room(stored, wanted_bytes=wanted, limit=limit, federation="harbour", retry_after_seconds=9)


def test_upload_that_does_not_fit_is_told_so() -> None:
    """One byte too many is refused with what was measured, the limit, its key, and when to come back."""
    with pytest.raises(StoreFull, match=r"harbour.*max_store_bytes_per_federation") as caught:
        require_room(99, wanted_bytes=2, limit=100, federation="harbour", retry_after_seconds=9)

    assert ("101", "100", 9) == (
        caught.value.details["measured"],
        caught.value.details["limit"],
        caught.value.retry_after_seconds,
    )


class Counting(MemoryStore):
    """A store that counts its listings, each of which takes as long as a test says."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self.clock, self.listings, self.takes = clock, 0, 0.0

    def list(self, prefix: str) -> Iterator[Entry]:
        """See Store."""
        self.listings += 1
        self.clock[0] += self.takes
        return super().list(prefix)


@pytest.fixture
def clock() -> list[float]:
    """The instant, in seconds; a test moves it on."""
    return [1000.0]


@pytest.fixture
def store(clock: list[float]) -> Counting:
    """Federation harbour takes 60 bytes, another one a hundred times as many."""
    store = Counting(clock)
    store.put("federations/harbour/blobs/a", b"x" * 60)
    store.put("federations/harbour-2/blobs/a", b"x" * 6000)
    return store


@pytest.fixture
def room(store: Counting, clock: list[float]) -> StoreRoom:
    """A hundred bytes for each federation."""
    return StoreRoom(Ledger(store), 100, monotonic=lambda: clock[0])


def test_total_is_remembered_for_a_while(room: StoreRoom, store: Counting, clock: list[float]) -> None:
    """One listing serves a minute of uploads; then room that was made is seen."""
    with pytest.raises(StoreFull) as caught:
        room.require("harbour", "p", wanted_bytes=41)
    store.delete("federations/harbour/blobs/a")
    clock[0] += 1
    with pytest.raises(StoreFull):
        room.require("harbour", "p", wanted_bytes=41)
    before = store.listings
    clock[0] += REMEMBERED_SECONDS

    room.require("harbour", "p", wanted_bytes=41)

    assert (REMEMBERED_SECONDS, 1, 2) == (caught.value.retry_after_seconds, before, store.listings)


def test_what_began_since_the_listing_counts_once(room: StoreRoom) -> None:
    """Uploads between two listings see each other; one that breaks and is resumed is not counted twice."""
    for _ in range(5):
        room.require("harbour", "p", wanted_bytes=30)
    room.require("harbour", "q", wanted_bytes=10)

    with pytest.raises(StoreFull):
        room.require("harbour", "r", wanted_bytes=1)


def test_slow_listing_is_believed_longer(room: StoreRoom, store: Counting, clock: list[float]) -> None:
    """A store whose listing takes long is not listed all the time."""
    store.takes = 30.0
    room.require("harbour", "p", wanted_bytes=1)
    clock[0] += 300
    room.require("harbour", "q", wanted_bytes=1)
    before = store.listings
    clock[0] += 600
    room.require("harbour", "r", wanted_bytes=1)

    assert (1, 2) == (before, store.listings)


def test_without_a_limit_nothing_is_listed(store: Counting) -> None:
    """Who sets no limit pays for none."""
    StoreRoom(Ledger(store), 0).require("harbour", "p", wanted_bytes=10**15)

    assert 0 == store.listings
