"""A federation on its way between a folder and a real bucket."""

from pathlib import Path

from aggregator.ledger import Ledger
from aggregator.moving.copying import copy_federation
from aggregator.stores import Store, open_store
from isthmus.federation import FederationState
from tests.ledgers import NAME, after, contribute, found, step
from tests.real_stores import bucket_of_its_own


def contents(store: Store) -> dict[str, bytes]:
    """All that the store holds."""
    return {entry.key: store.get(entry.key) for entry in store.list("")}


def test_federation_moves_to_a_bucket_and_back(tmp_path: Path) -> None:
    """From a folder to a bucket, where a round is published, and on to another folder: every key, byte for byte."""
    ledger = Ledger(open_store(str(tmp_path / "first")))
    found(ledger)
    bucket = open_store(bucket_of_its_own())
    for silo in "ab":
        contribute(ledger, silo)
    ledger.set_state(NAME, FederationState.PAUSED, reason="it moves", now=after(9))
    copy_federation(ledger.store, bucket, NAME, scratch=tmp_path)
    moved = contents(ledger.store) == contents(bucket)

    in_bucket = Ledger(bucket)
    in_bucket.set_state(NAME, FederationState.RUNNING, reason="", now=after(10))
    step(in_bucket, tmp_path, now=after(99))
    in_bucket.set_state(NAME, FederationState.FINISHED, reason="", now=after(100))
    last = open_store(str(tmp_path / "last"))
    copy_federation(bucket, last, NAME, scratch=tmp_path)

    assert (True, 1, contents(bucket)) == (moved, Ledger(last).latest_number(NAME), contents(last))
