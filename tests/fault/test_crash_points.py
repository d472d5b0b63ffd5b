"""Invariants 1 and 2 when replicas die: with SIGKILL, at every named point and before every call that writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aggregator.advance import POINTS, Published
from aggregator.ledger import Ledger
from aggregator.ledger.documents import manifest_to_json
from aggregator.stores.local import LocalStore
from aggregator.stores.memory import MemoryStore
from tests.fault.dying import NOW
from tests.ledgers import NAME, contribute, found, step

ROOT = Path(__file__).parents[2]


def prepare(ledger: Ledger) -> None:
    """A federation whose first round is due: two of three silos contributed."""
    found(ledger)
    for silo in "ab":
        contribute(ledger, silo)


@pytest.fixture
def expected(tmp_path: Path) -> str:
    """The manifest that a replica publishes that nothing happens to."""
    ledger = Ledger(MemoryStore())
    prepare(ledger)
    outcome = step(ledger, tmp_path, now=NOW)
    assert isinstance(outcome, Published)
    return manifest_to_json(outcome.manifest).decode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A local store with a round that is due."""
    prepare(Ledger(LocalStore(tmp_path / "store")))
    return tmp_path / "store"


def dying(plan: str, root: Path, *points: str) -> Any:  # what JSON holds
    """What `tests.fault.dying` prints."""
    scratch = root.with_name("scratch")
    scratch.mkdir()
    path = os.pathsep.join([str(ROOT / "common"), str(ROOT)])
    command = [sys.executable, "-m", "tests.fault.dying", plan, str(root), str(scratch), *points]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.parametrize("point", POINTS)
def test_replica_killed_at_a_point_is_repaired(root: Path, expected: str, point: str) -> None:
    """Whatever point of a step a replica dies at, the next one publishes the same manifest and cleans up."""
    assert [[True], expected, []] == dying("points", root, point)


def test_replicas_killed_one_after_the_other_are_repaired(root: Path, expected: str) -> None:
    """A series of replicas that each get one point further, and die there twice, publishes the same manifest."""
    points = [point for point in POINTS for _ in range(2)]

    deaths, manifest, left = dying("points", root, *points)

    # All die but the last: the one before had published, so there was no such point any more.
    assert ([True] * (len(points) - 1) + [False], expected, []) == (deaths, manifest, left)


def test_replica_killed_before_any_write_is_repaired(root: Path, expected: str) -> None:
    """Before whichever sync, link, rename or unlink of a step a replica dies, the result is the same."""
    results = dying("calls", root)

    assert [[[], expected]] * len(results) == [[deaths, manifest] for deaths, manifest, _ in results]
    assert len(results) > 30


def test_what_was_contributed_survives_every_death(root: Path) -> None:
    """After all those deaths the contributions and their bytes are there as they were receipted."""
    before = Ledger(LocalStore(root)).contributions(NAME, 1)
    dying("points", root, *POINTS)
    after = Ledger(LocalStore(root))

    assert before == after.contributions(NAME, 1)
    assert ("a", "b") == after.manifest(NAME, 1).silos
    for contribution in before:
        size = contribution.header.payload_size_bytes
        assert size == len(after.payload(contribution)(0, size))
