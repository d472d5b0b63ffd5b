"""How long does a round's combine take in one process, and on a Ray cluster of one and of two workers?

    make ray-test; .venv/bin/python -m benchmarks.ray_combine --log

A round of many silos lies in a local store, staged as the service stages it, its roster fixed. The same roster is
combined in a process of its own and by clusters whose nodes have one processor each, all on this machine, in turns;
nothing is published, and every result must have the same digests. Wall time runs from the roster to both files; for a
cluster it includes the driver's start and its connection, and a first turn, which starts the workers, is told apart.
Memory is the largest resident set of any one process that computes. Exit codes: 0 all digests agreed; 1 they did not.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from aggregator.advance import cut
from aggregator.aggregate import Aggregated
from aggregator.config import Combine
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing
from aggregator.publication import Combine as Combining
from aggregator.publication import Combining as Asked
from aggregator.publication import in_process, inputs_of
from aggregator.sharding.cluster import Cluster
from aggregator.stores import open_store
from benchmarks.logbook import enter, machine
from isthmus.chunks import SEGMENT_BYTES
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.ledgers import NAME, after, found, staged
from tests.ray_cluster import real_cluster
from tests.sharded_rounds import definition

MIB = 1 << 20
COLUMNS = 4096
WORKERS = (1, 2)
BUDGET_BYTES = 256 * MIB

Digests = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """One way's numbers: wall seconds of the first turn and of those after it, and the largest process in MiB."""

    way: str
    first: float
    further: tuple[float, ...]
    peak_mib: float
    digests: Digests


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures every way, prints the table and enters it into the log."""
    parser = argparse.ArgumentParser(description="Measures a round's combine in one process and on Ray clusters.")
    parser.add_argument("--silos", type=int, default=32)
    parser.add_argument("--rows", type=int, default=5120, help="of a projector [rows, 4096]; 5120 have 84 MB")
    parser.add_argument("--rules", nargs="+", default=["mean", "trimmed_mean"])
    parser.add_argument("--turns", type=int, default=3, help="after the first one")
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        return alone(options.alone)
    rows: list[tuple[str, Measured]] = []
    for rule in options.rules:
        with tempfile.TemporaryDirectory(prefix="isthmus-ray-") as folder:
            stage(f"{folder}/store", rule, rows=options.rows, num_silos=options.silos)
            rows += [(rule, row) for row in measured(Path(folder), turns=options.turns)]
    text = table(rows)
    print(text)
    if options.log:
        size_mb = options.rows * COLUMNS * 4 / 1e6
        enter("A round combined in one process and on Ray", section(text, rows, silos=options.silos, size_mb=size_mb))
    return 0 if all(len({row.digests for at, row in rows if at == rule}) == 1 for rule in options.rules) else 1


def stage(store: str, rule: str, *, rows: int, num_silos: int) -> None:
    """A federation whose first roster stands, with adam, which keeps the largest state."""
    spec = ProjectorSpec((TensorSpec("bias", "F32", (COLUMNS,)), TensorSpec("weight", "F32", (rows, COLUMNS))))
    ledger = Ledger(open_store(store))
    silos = tuple(f"silo-{number:02d}" for number in range(num_silos))
    found(ledger, definition(rule, "adam", silos=num_silos), silos=silos, spec=spec)
    for silo in silos:
        ledger.commit_contribution(staged(ledger, silo, segment_bytes=SEGMENT_BYTES))
    cut(ledger, NAME, ledger.mark_closing(NAME, Closing(1, "all are in", after(2))))


def combined(store: str, combine: Combining) -> tuple[float, Digests]:
    """One combine of the roster: its seconds and what came out."""
    ledger = Ledger(open_store(store))
    roster = ledger.roster(NAME, 1)
    assert roster is not None
    record, first = ledger.federation(NAME), ledger.manifest(NAME, 0)
    started = time.monotonic()
    inputs = inputs_of(ledger, record, first, contributions=ledger.roster_contributions(roster))
    with tempfile.NamedTemporaryFile("w+b") as projector, tempfile.NamedTemporaryFile("w+b") as state:
        given: Aggregated = combine(Asked(record, 1, inputs, BUDGET_BYTES, projector.file, state.file))
        assert given.state is not None
        return time.monotonic() - started, (given.projector.digest.hex(), given.state.digest.hex())


def alone(store: str) -> int:
    """One combine in this process, told as JSON."""
    print(json.dumps(combined(store, in_process)))
    return 0


def measured(folder: Path, *, turns: int) -> list[Measured]:
    """Every way, one after the other."""
    store = str(folder / "store")
    command = [sys.executable, "-m", "benchmarks.ray_combine", "--alone", store]

    def by_itself() -> tuple[float, Digests]:
        seconds, digests = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        return seconds, tuple(digests)

    found = [in_turns("one process", by_itself, turns=turns, computing=lambda: children_of(command[-1]))]
    for count in WORKERS:
        place = folder / f"{count}"
        place.mkdir()
        with real_cluster(place, machines=count) as cluster:
            ends = Cluster(Combine(by="ray", address=cluster.address, least_bytes=0), store_url=store)
            way = f"Ray, {count} worker{'s' * (count > 1)}"
            turn = functools.partial(combined, store, ends.combine)
            found.append(in_turns(way, turn, turns=turns, computing=cluster.tasks))
    return found


def in_turns(
    way: str, turn: Callable[[], tuple[float, Digests]], *, turns: int, computing: Callable[[], list[int]]
) -> Measured:
    """The turns of one way, and the largest process that computed in them."""
    ended, peaks = threading.Event(), [0.0]

    def watch() -> None:
        while not ended.wait(0.1):
            for pid in computing():
                with suppress(psutil.Error):
                    peaks.append(psutil.Process(pid).memory_info().rss / MIB)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        told = [turn() for _ in range(turns + 1)]
    finally:
        ended.set()
        watcher.join()
    assert len({digests for _, digests in told}) == 1
    print(f"{way}: {', '.join(f'{seconds:.1f} s' for seconds, _ in told)}", flush=True)
    return Measured(way, told[0][0], tuple(seconds for seconds, _ in told[1:]), max(peaks), told[0][1])


def children_of(store: str) -> list[int]:
    """Processes of ours that combine this store alone."""
    return [child.pid for child in psutil.Process().children() if store in " ".join(child.cmdline())]


def table(rows: Sequence[tuple[str, Measured]]) -> str:
    """Every way's numbers, beside one process of the same rule."""
    lines = ["| rule | way | first, s | further, s (median; all) | beside one process | largest process, MiB |"]
    lines.append("|---|---|---|---|---|---|")
    for rule, row in rows:
        base = statistics.median(next(one for at, one in rows if at == rule).further)
        median = statistics.median(row.further)
        every = ", ".join(f"{seconds:.1f}" for seconds in row.further)
        lines.append(
            f"| {rule} | {row.way} | {row.first:.1f} | {median:.1f} ({every}) | {median / base:.2f} | "
            f"{row.peak_mib:.0f} |"
        )
    return "\n".join(lines)


def section(text: str, rows: Sequence[tuple[str, Measured]], *, silos: int, size_mb: float) -> str:
    """What the log says."""
    two = [(rule, row) for rule, row in rows if row.way == "Ray, 2 workers"]
    bases = {rule: statistics.median(row.further) for rule, row in reversed(rows) if row.way == "one process"}
    faster = [rule for rule, row in two if statistics.median(row.further) < bases[rule]]
    verdict = (
        f"Two workers were faster than one process with {', '.join(faster)}"
        if faster
        else ("Two workers were nowhere faster than one process")
    )
    return f"""`python -m benchmarks.ray_combine --silos {silos}`: {silos} deltas of {size_mb:.0f} MB (float32), adam, a
local store, a memory budget of {BUDGET_BYTES // MIB} MiB for each process that computes. A node of the cluster has one
processor; all nodes, and the driver that lays the parts together, are on this machine and share its cores and its
disk. {machine()}.

{text}

All ways gave the same digests. {verdict}; what more machines, each with a disk or a network of its own, would
give is not measured here."""


if __name__ == "__main__":
    sys.exit(main())
