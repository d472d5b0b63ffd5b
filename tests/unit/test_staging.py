"""Staged bytes of pushes that are under way."""

from dataclasses import replace

import pytest

from aggregator.ledger import Ledger
from aggregator.ledger.documents import Upload
from aggregator.ledger.staging import MIN_COUNTED_BYTES, StagedTotal
from aggregator.stores.memory import MemoryStore
from tests.ledgers import NAME, found, stage


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    """A ledger with one federation of silos a, b, c."""
    ledger = Ledger(store)
    found(ledger)
    return ledger


def test_upload_grows_and_starts_anew_when_dropped(ledger: Ledger) -> None:
    """Committed bytes grow by what is staged; after a drop the next attempt starts at 0, and nothing was deleted."""
    upload = Upload(NAME, 1, "a", "f" * 64)
    first = stage(ledger, upload, b"abc")
    gap = stage(ledger, upload, b"abcdefg", start=5)
    before = ledger.committed_segments(upload)
    middle = stage(ledger, upload, b"abcde", start=3)
    whole = ledger.committed_segments(upload)
    again = stage(ledger, upload, b"abc")
    ledger.drop_upload(upload)

    assert ([first], [first, middle, gap], first, []) == (before, whole, again, ledger.committed_segments(upload))
    assert b"abc" == ledger.read_segment(first)
    other = stage(ledger, upload, b"abc")
    assert ([other], True) == (ledger.committed_segments(upload), other.key != first.key)


def test_push_of_one_round_is_not_one_of_another(ledger: Ledger) -> None:
    """Staged bytes are told apart by federation, round and push."""
    upload = Upload(NAME, 1, "a", "f" * 64)
    stage(ledger, upload, b"abc")

    assert [[], []] == [
        ledger.committed_segments(other) for other in (replace(upload, round=11), replace(upload, push_id="f" * 63))
    ]


def test_total_counts_all_that_a_silo_staged_for_a_round(ledger: Ledger) -> None:
    """Runs of every push and attempt count, each as 64 KiB at least; those of other silos and rounds do not."""
    upload = Upload(NAME, 1, "a", "f" * 64)
    stage(ledger, upload, b"abc")
    ledger.drop_upload(upload)
    stage(ledger, upload, bytes(MIN_COUNTED_BYTES + 1))
    ledger.drop_upload(replace(upload, push_id="e" * 64))
    for other in (replace(upload, silo="aa"), replace(upload, round=11)):
        stage(ledger, other, b"abc")

    assert StagedTotal(2 * MIN_COUNTED_BYTES + 1, num_attempts=3) == ledger.staged_total(NAME, 1, "a")
