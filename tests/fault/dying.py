"""Replicas that die: each is a forked process that kills itself with SIGKILL where it is told to.

Run as a program of its own (`python -m tests.fault.dying PLAN ROOT SCRATCH ...`), so that nothing but it is forked.
Prints one JSON value that the test compares.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aggregator.advance import Published
from aggregator.ledger import Ledger
from aggregator.ledger.documents import manifest_to_json
from aggregator.stores.local import LocalStore
from tests.ledgers import NAME, after, step

NOW = after(61)
"""When every replica advances: the same instant, so that all publish the same manifest."""


def die() -> None:
    """Ends this process at once: no handler, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> bool:
    """Does the work in a process of its own; whether that died by SIGKILL, and not otherwise."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        raise ChildProcessError(f"the replica ended with status {status}")
    return status == signal.SIGKILL


def advance_until(root: Path, scratch: Path, point: str) -> None:
    """A replica that dies at one of the named points of `advance`."""
    step(Ledger(LocalStore(root)), scratch, now=NOW, at=lambda reached: die() if reached == point else None)


def advance_until_call(root: Path, scratch: Path, number: int) -> None:
    """A replica that dies right before the operating system is asked for the number-th sync, link, rename or unlink."""
    calls = iter(range(number))

    def dying(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            if next(calls, None) is None:
                die()
            real(*arguments)

        return call

    ledger = Ledger(LocalStore(root))
    for name in ("fsync", "link", "replace", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
    step(ledger, scratch, now=NOW)


def published(root: Path, scratch: Path) -> tuple[str, list[str]]:
    """What a surviving replica publishes: the manifest's document, and the files it leaves that are under no key."""
    outcome = step(Ledger(LocalStore(root)), scratch, now=NOW)
    if not isinstance(outcome, Published):
        raise RuntimeError(f"nothing was published: {outcome}")
    left = [path.name for folder in (root / "~aside", scratch) for path in folder.iterdir()]
    return manifest_to_json(outcome.manifest).decode(), left


def at_points(root: Path, scratch: Path, points: Sequence[str]) -> object:
    """One replica after the other dies, each at its point; did they, and what does the next one find published?"""
    deaths = [killed(lambda point=point: advance_until(root, scratch, point)) for point in points]  # type: ignore[misc]
    ledger = Ledger(LocalStore(root))
    if ledger.latest_number(NAME) == 1:
        return [deaths, manifest_to_json(ledger.manifest(NAME, 1)).decode(), []]
    return [deaths, *published(root, scratch)]


def at_every_call(root: Path, scratch: Path) -> object:
    """For every call to the operating system of one step: what is published after a death right before it."""
    results = []
    for number in range(1000):
        copy = root.with_name(f"copy-{number}")
        shutil.copytree(root, copy)
        died = killed(lambda copy=copy, number=number: advance_until_call(copy, scratch, number))  # type: ignore[misc]
        if not died:
            return results
        results.append(at_points(copy, scratch, []))
        shutil.rmtree(copy)
    raise RuntimeError("a step has no end")


if __name__ == "__main__":
    plan, root, scratch, *points = sys.argv[1:]
    paths = (Path(root), Path(scratch))
    result = at_points(*paths, points) if plan == "points" else at_every_call(*paths)
    print(json.dumps(result))  # noqa: T201 - read by the test
