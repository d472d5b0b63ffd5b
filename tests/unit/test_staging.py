"""Staged bytes of pushes that are under way."""

from dataclasses import replace

import pytest

from aggregator.ledger import Ledger
from aggregator.ledger.documents import Upload
from aggregator.stores.memory import MemoryStore
from tests.ledgers import NAME, found


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
    upload = Upload(NAME, 1, "f" * 64)
    first = ledger.stage_segment(upload, offset_bytes=0, data=b"abc")
    gap = ledger.stage_segment(upload, offset_bytes=5, data=b"fg")
    before = ledger.committed_segments(upload)
    middle = ledger.stage_segment(upload, offset_bytes=3, data=b"de")
    whole = ledger.committed_segments(upload)
    again = ledger.stage_segment(upload, offset_bytes=0, data=b"abc")
    ledger.drop_upload(upload)

    assert ([first], [first, middle, gap], first, []) == (before, whole, again, ledger.committed_segments(upload))
    assert b"abc" == ledger.read_segment(first)
    other = ledger.stage_segment(upload, offset_bytes=0, data=b"abc")
    assert ([other], True) == (ledger.committed_segments(upload), other.key != first.key)


def test_push_of_one_round_is_not_one_of_another(ledger: Ledger) -> None:
    """Staged bytes are told apart by federation, round and push."""
    upload = Upload(NAME, 1, "f" * 64)
    ledger.stage_segment(upload, offset_bytes=0, data=b"abc")

    assert [[], []] == [
        ledger.committed_segments(other) for other in (replace(upload, round=11), replace(upload, push_id="f" * 63))
    ]
