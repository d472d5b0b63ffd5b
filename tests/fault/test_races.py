"""Invariants 1 and 2 when replicas race for real: threads and processes over one local store."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aggregator.advance import Published
from aggregator.ledger import Ledger
from aggregator.stores import Store, open_store
from aggregator.stores.local import LocalStore
from tests.fault.racing import SILOS, Answer, race
from tests.ledgers import NAME, after, contribute, definition, found, step

ROOT = Path(__file__).parents[2]
ROUNDS = 4
NUM_REPLICAS = 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A local store with a federation that is cut as soon as one silo contributed."""
    folder = tmp_path / "store"
    found(Ledger(LocalStore(folder)), definition(rounds=ROUNDS, quorum=1), silos=SILOS)
    return folder


def check(ledger: Ledger, answers: list[Answer]) -> None:
    """Every answer that any replica gave agrees with the one roster of its round."""
    rosters = {number: ledger.manifest(NAME, number).silos for number in range(1, ROUNDS + 1)}
    told = {(number, silo): answer for number, silo, answer in answers if number <= ROUNDS}

    assert len(answers) >= len(told) >= ROUNDS
    assert told == {(n, silo): "counted" if silo in rosters[n] else "closed" for n, silo in told}
    assert all(answer == told[number, silo] for number, silo, answer in answers if number <= ROUNDS)


def test_threads_agree(root: Path, tmp_path: Path) -> None:
    """Threads that push the same deltas and cut the same rounds give no two answers about any of them."""
    with ThreadPoolExecutor(NUM_REPLICAS) as pool:
        answers = list(pool.map(lambda seed: race(root, tmp_path, seed=seed), range(NUM_REPLICAS)))

    check(Ledger(LocalStore(root)), [answer for several in answers for answer in several])


def test_processes_agree(root: Path, tmp_path: Path) -> None:
    """Processes that push the same deltas and cut the same rounds give no two answers about any of them."""
    path = os.pathsep.join([str(ROOT / "common"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    commands = [
        [sys.executable, "-m", "tests.fault.racing", str(root), str(scratch), str(seed)] for seed in range(NUM_REPLICAS)
    ]
    replicas = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        for command in commands
    ]
    outputs = [replica.communicate(timeout=150) for replica in replicas]

    assert [(0, b"")] * NUM_REPLICAS == [
        (replica.returncode, errors) for replica, (_, errors) in zip(replicas, outputs, strict=True)
    ]
    answers = [(number, silo, answer) for out, _ in outputs for number, silo, answer in json.loads(out)]
    check(Ledger(LocalStore(root)), answers)
    assert [] == [*scratch.iterdir(), *(root / "~aside").iterdir()]


STORES = ["local"] + (["s3"] if os.environ.get("ISTHMUS_TEST_S3_URL") else [])


def open_one(kind: str, folder: Path) -> Store:
    """A local store, or the bucket that the environment names, under a prefix of its own."""
    if kind == "local":
        return LocalStore(folder / "store")
    where, _, options = os.environ["ISTHMUS_TEST_S3_URL"].partition("?")
    return open_store(f"{where.rstrip('/')}/races-{os.getpid()}-{threading.get_ident()}?{options}")


@pytest.mark.parametrize("kind", STORES)
def test_racing_cuts_publish_one_projector(kind: str, tmp_path: Path) -> None:
    """Replicas that cut the same round at the same instant all report the same manifest, round after round."""
    store = open_one(kind, tmp_path)
    found(Ledger(store), definition(rounds=ROUNDS))
    barrier = threading.Barrier(NUM_REPLICAS)

    def cut(_: int) -> object:
        ledger = Ledger(store)
        barrier.wait(60)
        return step(ledger, tmp_path, now=after(61))

    for number in range(1, 4):
        for silo in "abc":
            contribute(Ledger(store), silo, round_number=number)
        with ThreadPoolExecutor(NUM_REPLICAS) as pool:
            outcomes = list(pool.map(cut, range(NUM_REPLICAS)))
        standing = Ledger(store).manifest(NAME, number)

        published = [outcome for outcome in outcomes if isinstance(outcome, Published)]
        assert [standing] * len(published) == [outcome.manifest for outcome in published]
        assert published
