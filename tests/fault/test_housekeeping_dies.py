"""Housekeeping by real processes that are killed, on a real folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.housekeeping import POINTS
from aggregator.ledger import Ledger, keys
from aggregator.stores.local import LocalStore
from tests.ledgers import NAME, after, contribute, found, step
from tests.real_aggregator import ENVIRONMENT


@pytest.mark.parametrize("point", POINTS)
def test_killed_housekeeping_is_ended_by_the_next(tmp_path: Path, point: str) -> None:
    """Killed at every point, one after the other: bytes go only after the record, and all other keys stay."""
    ledger = Ledger(LocalStore(tmp_path / "store"))
    found(ledger)
    for silo in "ab":
        contribute(ledger, silo)
    step(ledger, tmp_path, now=after(99))
    contribute(ledger, "a", round_number=2)
    before = {entry.key for entry in ledger.store.list("")}
    due = {key for key in before if key.startswith(keys.uploads(NAME, 1))}

    command = [sys.executable, "-m", "tests.fault.tidying", str(tmp_path / "store"), point]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    *deaths, survived = (set(left) for left in json.loads(ended.stdout))
    record = {keys.removal(NAME, 1)}
    assert [] == [left for left in deaths if before - left and not record <= left]
    assert (before - due | record, True) == (survived, len(deaths) > 0)
