"""`isthmus housekeeping`, and the loop that does the same in every replica."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggregator.housekeeper import Housekeeper
from aggregator.ledger import Ledger, keys, removal
from aggregator.stores.local import LocalStore
from isthmus.cli import main
from tests.faulty_store import FaultyStore
from tests.ledgers import INITIAL, NAME, contribute, definition, parse_federation, step
from tests.rosters import TINY


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store whose federation published its round 1 forty days ago."""
    ledger, then = Ledger(LocalStore(tmp_path / "store")), datetime.now(UTC) - timedelta(days=40)
    toml = definition(quorum=1)
    ledger.create_federation(toml, parse_federation(toml), TINY, projector=INITIAL, now=then)
    contribute(ledger, "a")
    step(ledger, tmp_path, now=then + timedelta(seconds=99))
    return tmp_path / "store"


def run(root: Path, *options: str) -> int:
    """Runs the command on the store."""
    return main(["housekeeping", NAME, "--store", str(root), *options])


def test_dry_run_tells_and_the_command_removes_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dry run tells what goes, by kind, and removes nothing; the command removes just that; then nothing is due."""
    store = LocalStore(root)
    staged = list(store.list(keys.uploads(NAME, 1)))

    told = (run(root, "--dry-run", "--json"), json.loads(capsys.readouterr().out))[1]
    kept = staged == list(store.list(keys.uploads(NAME, 1)))
    done = (run(root, "--json"), json.loads(capsys.readouterr().out))[1]
    run(root)

    total = {"num_keys": len(staged), "size_bytes": sum(entry.size_bytes for entry in staged)}
    assert (True, total, told | {"dry_run": False}) == (kept, told["kinds"]["deltas"], done)
    assert ("Nothing is due.\n", []) == (capsys.readouterr().out, list(store.list(keys.uploads(NAME, 1))))
    record = removal.find(store, NAME, 1)
    assert record is not None
    assert record.removed_by == "isthmus housekeeping"


def test_people_are_told_in_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json a table names the rounds, and a sentence each kind with its bytes."""
    assert run(root, "--dry-run") == 0

    shown = capsys.readouterr().out
    assert shown.startswith("round  what")
    assert "would be removed" in shown


def test_replica_tidies_by_itself(root: Path) -> None:
    """The loop removes what is due soon after it starts, also when the store fails at first, and ends when told."""
    store = FaultyStore(LocalStore(root))
    store.away()
    housekeeper = Housekeeper(Ledger(store), clock=lambda: datetime.now(UTC), interval_seconds=0.05)
    housekeeper.start()
    while not store.hits:
        time.sleep(0.01)
    store.back()
    while list(store.list(keys.uploads(NAME, 1))):
        time.sleep(0.01)
    housekeeper.stop(timeout=10)

    record = removal.find(store, NAME, 1)
    assert record is not None
    assert record.removed_by == "an aggregator"


def test_loop_that_is_switched_off_removes_nothing(root: Path) -> None:
    """An interval of 0 is the off switch."""
    store = FaultyStore(LocalStore(root))
    housekeeper = Housekeeper(Ledger(store), clock=lambda: datetime.now(UTC), interval_seconds=0)
    housekeeper.start()
    housekeeper.stop(timeout=1)

    assert list(store.list(keys.uploads(NAME, 1)))
