"""The tests' own faulty store does what tests that use it believe."""

from pathlib import Path

import pytest

from aggregator.stores import open_store
from aggregator.stores.memory import MemoryStore
from isthmus.errors import StoreFull, StoreUnavailable
from tests.faulty_store import AWAY, CREATES, FULL, Faults, FaultyStore, control, controlled


@pytest.fixture
def store() -> FaultyStore:
    """A faulty store in memory."""
    return FaultyStore(MemoryStore())


def fails(store: FaultyStore, key: str) -> bool:
    """Whether creating the key fails."""
    try:
        store.put_if_absent(key, b"content")
    except (StoreFull, StoreUnavailable):
        return True
    return False


def test_failed_verb_has_no_effect_and_a_lost_answer_has_one(store: FaultyStore) -> None:
    """A verb that fails leaves nothing; one whose answer is lost did its work, and its repeat finds that."""
    store.full()
    failed = fails(store, "a")
    store.suffer(Faults(lost=CREATES, times=1))
    lost = fails(store, "b")

    assert (True, True, ["b"], False) == (
        failed,
        lost,
        [entry.key for entry in store.list("")],
        store.put_if_absent("b", b"content"),
    )


def test_faults_hit_what_they_name(store: FaultyStore) -> None:
    """Faults hit each such call, of keys that hold the text, so many times, and tell how often they did."""
    store.suffer(Faults(fails=CREATES, every=2, within="segment", times=2))

    hit = [fails(store, key) for key in ["segment/1", "other/1", *(f"segment/{number}" for number in range(2, 8))]]

    assert ([False, False, True, False, True, False, False, False], 2) == (hit, store.hits)


def test_control_file_drives_a_store(tmp_path: Path) -> None:
    """A controlled store takes its faults from the file from the next verb on, and none without one."""
    file = tmp_path / "faults.json"
    store = controlled(open_store, file)("memory:")
    before = store.put_if_absent("a", b"content")
    control(file, FULL)
    with pytest.raises(StoreFull):
        store.put_if_absent("b", b"content")
    kept = store.get("a")
    control(file, AWAY)
    with pytest.raises(StoreUnavailable):
        store.get("a")
    control(file, Faults())

    assert (True, b"content", True) == (before, kept, store.put_if_absent("b", b"content"))
