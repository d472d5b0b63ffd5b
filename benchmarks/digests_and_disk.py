"""What a delta's digest costs by algorithm, and what its segments cost the disk through the page cache and past it.

    .venv/bin/python -m benchmarks.digests_and_disk --log

The digests take turns over one buffer; BLAKE3 comes from an environment of its own and hashes on one core, as a replica
would. The disk writes the segments of eight deltas each way in turn, synced as a store syncs them, and reads them back.
"""

import argparse
import hashlib
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aggregator.stores import uncached
from aggregator.stores.local import LocalStore
from benchmarks.environments import CACHE, environment_of
from benchmarks.logbook import enter, machine
from isthmus.chunks import SEGMENT_BYTES

DELTA_BYTES = 84 * 10**6
NUM_SEGMENTS = 160
REPEATS = 5

_BLAKE3 = """
import json, sys, time
import blake3
data = bytes(%d)
blake3.blake3(data).digest()
times = []
for _ in range(%d):
    start = time.perf_counter()
    blake3.blake3(data).digest()
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures both, prints two tables and enters them into the log."""
    parser = argparse.ArgumentParser(description="Measures digests, and the disk with and without the page cache.")
    parser.add_argument("--log", action="store_true", help="enter the tables into docs/LOG.md")
    options = parser.parse_args(arguments)
    text = f"{digest_table()}\n\n{disk_table()}\n\n{machine()}."
    print(text)
    if options.log:
        enter("Digests, and the disk past the page cache", f"`python -m benchmarks.digests_and_disk`: {text}")
    return 0


def digest_table() -> str:
    """One line an algorithm: the median over turns, and how it compares with SHA-256."""
    data = bytes(DELTA_BYTES)
    timed: dict[str, list[float]] = {name: [] for name in ("sha256", "blake2b", "BLAKE3")}
    for _ in range(REPEATS):
        for name in ("sha256", "blake2b"):
            start = time.perf_counter()
            hashlib.new(name, data).digest()
            timed[name].append(time.perf_counter() - start)
    program = [str(environment_of("blake3") / "bin" / "python"), "-c", _BLAKE3 % (DELTA_BYTES, REPEATS)]
    timed["BLAKE3"] = json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    base = statistics.median(timed["sha256"])
    rows = [
        f"| {name} | {1000 * statistics.median(times):.0f} | {DELTA_BYTES / 1e9 / statistics.median(times):.1f} "
        f"| {statistics.median(times) / base:.2f} |"
        for name, times in timed.items()
    ]
    head = f"a delta of {DELTA_BYTES / 1e6:.0f} MB, medians of {REPEATS} turns."
    return "\n".join([head, "", "| digest | ms | GB/s | x SHA-256 |", "|---|---|---|---|", *rows])


def disk_table() -> str:
    """Writing and reading segments: seconds and processor seconds, each way."""
    rows = {"through the cache": [], "past it": []}  # type: dict[str, list[tuple[float, ...]]]
    direct, reader = uncached.write, uncached.Reader.read
    CACHE.mkdir(parents=True, exist_ok=True)
    for _ in range(REPEATS):
        for way, measured in rows.items():
            if way == "through the cache":
                uncached.write = lambda _descriptor, _content: 0
                uncached.Reader.read = lambda *_arguments: None  # type: ignore[method-assign]
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                measured.append(_written_and_read(Path(folder)))
            uncached.write, uncached.Reader.read = direct, reader  # type: ignore[method-assign]
    lines = [
        f"| {way} | " + " | ".join(f"{statistics.median(column):.2f}" for column in zip(*measured, strict=True)) + " |"
        for way, measured in rows.items()
    ]
    head = f"{NUM_SEGMENTS} segments of {SEGMENT_BYTES >> 20} MiB in a folder store, one thread, medians of {REPEATS}:"
    columns = "| way | write s | of it CPU s | read s | of it CPU s |"
    return "\n".join([head, "", columns, "|---|---|---|---|---|", *lines])


def _written_and_read(folder: Path) -> tuple[float, float, float, float]:
    store, pages = LocalStore(folder / "store"), mmap.mmap(-1, SEGMENT_BYTES)
    pages[:] = os.urandom(SEGMENT_BYTES)
    keys = [f"segments/{number:04d}" for number in range(NUM_SEGMENTS)]

    def write() -> None:
        for key in keys:
            store.put_if_absent(key, memoryview(pages))

    def read() -> None:
        for key in keys:
            store.get(key, start=0, size=SEGMENT_BYTES)

    return (*_timed(write), *_timed(read))


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    sys.exit(main())
