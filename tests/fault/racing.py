"""One replica among several that race on one local store: pushes its share of the deltas and advances in between.

Run as `python -m tests.fault.racing ROOT SCRATCH SEED`. Prints a JSON list of [round, silo, "counted" or "closed"].
"""

import json
import random
import sys
from pathlib import Path

from aggregator.advance import Finished, counted
from aggregator.ledger import Ledger
from aggregator.stores.local import LocalStore
from isthmus.errors import RoundClosed
from tests.ledgers import NAME, after, contribute, step

SILOS = ("a", "b", "c", "d", "e", "f")

Answer = tuple[int, str, str]


def race(root: Path, scratch: Path, *, seed: int) -> list[Answer]:
    """Goes on until the federation is finished; what it answered to each push."""
    ledger, dice = Ledger(LocalStore(root)), random.Random(seed)
    answers: list[Answer] = []
    while True:
        for silo in dice.sample(SILOS, 2):
            answers.append(_push(ledger, silo, ledger.latest_number(NAME) + 1))
        if isinstance(step(ledger, scratch, now=after(9999)), Finished):
            return answers


def _push(ledger: Ledger, silo: str, number: int) -> Answer:
    try:
        counted(ledger, contribute(ledger, silo, round_number=number))
    except RoundClosed:
        return number, silo, "closed"
    return number, silo, "counted"


if __name__ == "__main__":
    root, scratch, seed = sys.argv[1:]
    print(json.dumps(race(Path(root), Path(scratch), seed=int(seed))))  # noqa: T201 - read by the test
