"""A real aggregator process that counts what it asks of its store: FILE, then what `python -m aggregator` takes.

The counts are appended to the file whenever they changed, with the instant: one object a line.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import SplitResult

from aggregator import __main__ as aggregator
from aggregator.stores import STORES, Store
from benchmarks.simulate.counting import CountingStore

INTERVAL_SECONDS = 0.05

Opened = Callable[[SplitResult], Store]
"""What opens a store."""

Counts = list[tuple[float, dict[str, int]]]


def main(arguments: Sequence[str]) -> int:
    """Runs the aggregator."""
    file, *own = arguments
    STORES.update({scheme: _counted(opened, Path(file)) for scheme, opened in STORES.items()})
    return aggregator.main(own)


def read_counts(file: Path) -> Counts:
    """What was told so far; a line that is being written is left out."""
    lines = file.read_text(encoding="ascii").splitlines(keepends=True) if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [(one.pop("at"), one) for one in found]


def counts_between(counts: Counts, begin: float, end: float) -> dict[str, int]:
    """What was asked between two instants, to the interval."""
    before, after = _until(counts, begin), _until(counts, end)
    return {name: number - before.get(name, 0) for name, number in after.items()}


def _counted(opened: Opened, file: Path) -> Opened:
    """What opens a store that counts, and tells the file."""

    def counted(url: SplitResult) -> Store:
        store = CountingStore(opened(url))
        threading.Thread(target=_tell, args=(store, file), daemon=True).start()
        return store

    return counted


def _until(counts: Counts, at: float) -> dict[str, int]:
    return next((known for then, known in reversed(counts) if then <= at), {})


def _tell(store: CountingStore, file: Path) -> None:
    told: dict[str, int] = {}
    with file.open("a", encoding="ascii", buffering=1) as lines:
        while True:
            time.sleep(INTERVAL_SECONDS)
            known = dict(store.counts)
            if known != told:
                told = known
                lines.write(json.dumps({"at": time.time(), **known}) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
