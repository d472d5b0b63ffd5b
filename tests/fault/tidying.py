"""Housekeeping by processes that die: each kills itself with SIGKILL at a point, the k-th time that it comes there.

Run as `python -m tests.fault.tidying ROOT POINT`. Prints, for each k until one survives, what was left in the store.
"""

import itertools
import json
import sys
from pathlib import Path

from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger
from aggregator.stores.local import LocalStore
from tests.fault.dying import die, killed
from tests.ledgers import NAME, after

LONG_AFTER = after(99 * 86_400)


def tidy_until(root: Path, point: str, times: int) -> None:
    """Tidies until the point is reached so many times."""
    calls = itertools.count(1)
    for _ in tidy(
        Ledger(LocalStore(root)),
        NAME,
        now=LONG_AFTER,
        by="who dies",
        at=lambda reached: die() if reached == point and next(calls) == times else None,
    ):
        pass


def deaths(root: Path, point: str) -> list[list[str]]:
    """The keys that each death left behind, and at last those that a survivor left."""
    left = []
    for times in itertools.count(1):
        died = killed(lambda times=times: tidy_until(root, point, times))  # type: ignore[misc]
        left.append([entry.key for entry in LocalStore(root).list("")])
        if not died:
            return left
    raise RuntimeError("unreachable")


if __name__ == "__main__":
    print(json.dumps(deaths(Path(sys.argv[1]), sys.argv[2])))  # noqa: T201 - read by the test
