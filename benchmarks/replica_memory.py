"""How much memory does a replica take with 8, 16, 32 and 64 uploads at once?

    .venv/bin/python -m benchmarks.replica_memory --log

Each count gets a fresh replica, a process of its own over a fresh store: a folder, or with `--bucket` the bucket that
ISTHMUS_TEST_S3_URL names. All uploads are open at the same time, most of a segment of each in memory: none sends its
last chunk before all others have sent the rest. What is told is the process's peak resident memory (VmHWM), and what
that has beyond the uploads' windows (`aggregator.config.UPLOAD_WINDOW_BYTES` each). `--limit` holds the replica to so
many MiB as a container is held, with the settings of docker-compose.yml (root, on Linux); `--cut` has the round cut and
published as well. Exit codes: 0 that grows by no more than the bar from the first count on; 1 it grows by more.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from aggregator.config import UPLOAD_WINDOW_BYTES
from benchmarks.logbook import enter, machine
from benchmarks.memory_limit import Group, limited
from isthmus.chunks import CHUNK_BYTES
from isthmus.credentials import load_credentials
from isthmus.operator_client import OperatorClient
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.v1 import aggregator_pb2
from tests.real_aggregator import RealAggregator, real_replicas
from tests.real_stores import bucket_of_its_own
from tests.serving import MIB, Delta, Operator, Silo, delta_of, parts_of, projector_of

BAR_MIB = 32.0
COUNTS = (8, 16, 32, 64)
SETTINGS = "[limits]\nmax_uploads = 64\nslow_seconds = 600.0\n"
SMALL = "[limits]\nmemory_budget_bytes = 134217728\nslow_seconds = 600.0\n"
"""Those of deploy/compose/aggregator.toml, for a replica with a limit."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One count's numbers, in MiB."""

    num_uploads: int
    before: float
    peak: float
    windows: float
    cpu_seconds: float
    group: float = 0.0
    """The most that the replica's control group held, files that the kernel keeps included; 0: it had no limit."""

    @property
    def beyond(self) -> float:
        """What the peak has beyond the uploads' windows."""
        return self.peak - self.windows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures every count, prints the table and enters it into the log."""
    parser = argparse.ArgumentParser(description="Measures a replica's peak memory with many uploads at once.")
    parser.add_argument("--uploads", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--mib", type=int, default=23, help="size of each delta")
    parser.add_argument(
        "--bucket", action="store_true", help="over the bucket in ISTHMUS_TEST_S3_URL, not over a folder"
    )
    parser.add_argument("--limit", type=int, default=0, metavar="MIB", help="hold the replica to so much memory")
    parser.add_argument("--cut", action="store_true", help="cut and publish the round as well")
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    options = parser.parse_args(arguments)
    rows = []
    for number in options.uploads:
        store = bucket_of_its_own() if options.bucket else "store"
        with tempfile.TemporaryDirectory(prefix="isthmus-memory-") as folder:
            place = Place(Path(folder), store, limit_mib=options.limit)
            rows.append(measure(number, size_mib=options.mib, place=place, cut=options.cut))
        print(line_of(rows[-1]), flush=True)
    growth = max(row.beyond - rows[0].beyond for row in rows)
    print(f"beyond the windows it grows by {growth:.0f} MiB at most; the bar is {BAR_MIB:.0f} MiB")
    if options.log:
        where = "a bucket" if options.bucket else "a folder"
        limit = f", held to {options.limit} MiB" if options.limit else ""
        title = f"A replica's memory under many uploads, over {where}{limit}"
        enter(title, section(rows, growth=growth, options=options))
    return 0 if growth <= BAR_MIB else 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica runs: an empty folder, its store, and the memory that it is held to; 0: all there is."""

    folder: Path
    store: str
    limit_mib: int = 0

    @contextmanager
    def replica(self) -> Iterator[tuple[RealAggregator, Group | None]]:
        """A fresh replica, and its control group if it has a limit."""
        settings = SMALL if self.limit_mib else SETTINGS
        with real_replicas(self.folder, 1, store=self.store, settings=settings) as (replica,):
            assert replica.process is not None
            if not self.limit_mib:
                yield replica, None
                return
            with limited(replica.process.pid, mib=self.limit_mib, held_mib=peak_mib(replica)) as group:
                yield replica, group


def measure(num_uploads: int, *, size_mib: int, place: Place, cut: bool) -> Measured:
    """A fresh replica's peak under this many uploads."""
    spec = ProjectorSpec((TensorSpec("weight", "F32", (size_mib * MIB // 4,)),))
    with place.replica() as (replica, group):
        operator = Operator(replica.address, load_credentials(replica.operator))
        operator.create(definition(num_uploads, cut=cut), projector=projector_of(spec))
        before = peak_mib(replica)
        silos = [Silo(replica.address, operator.invite(f"silo-{number:02d}")) for number in range(num_uploads)]
        payload = delta_of(spec, "delta")
        deltas = [silo.delta(spec, payload=payload) for silo in silos]
        everybody = threading.Barrier(num_uploads)
        with ThreadPoolExecutor(num_uploads) as pool:
            receipts = [
                pool.submit(silo.send, held_back(delta, everybody), timeout=600.0)
                for silo, delta in zip(silos, deltas, strict=True)
            ]
            for receipt in receipts:
                receipt.result()
        if cut:
            await_published(replica)
        if group is not None and group.kills:
            raise SystemExit(f"The kernel killed the replica: {place.limit_mib} MiB are too few.")
        held = group.peak_mib if group else 0.0
        windows = num_uploads * UPLOAD_WINDOW_BYTES / MIB
        return Measured(num_uploads, before, peak_mib(replica), windows, cpu_seconds(replica), held)


def await_published(replica: RealAggregator) -> None:
    """Waits until the round's projector is there."""
    with OperatorClient(replica.address, credentials=replica.operator) as client:
        while len(client.lineage("harbour")) == 1:
            time.sleep(0.5)


def definition(num_uploads: int, *, cut: bool) -> str:
    """A federation that cuts its round when all are there, or never: aggregation has a budget of its own."""
    least = num_uploads if cut else num_uploads + 1
    return (
        f'name = "harbour"\nrounds = 1\nparticipation.silos = {{ min = {least}, max = {least} }}\n'
        "plan.learning_rate = { initial = 0.01 }\nadmission.allow_repeats = true\n"
    )


def held_back(delta: Delta, everybody: threading.Barrier) -> Iterator[aggregator_pb2.PushDeltaRequest]:
    """The parts of a push, the last chunk once everybody has come to it."""
    for part in parts_of(delta):
        if part.chunk.offset_bytes + CHUNK_BYTES >= len(delta.payload):
            everybody.wait(600)
        yield part


def peak_mib(replica: RealAggregator) -> float:
    """The process's peak resident memory so far."""
    assert replica.process is not None
    status = Path(f"/proc/{replica.process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cpu_seconds(replica: RealAggregator) -> float:
    """What the process has computed so far."""
    assert replica.process is not None
    times = psutil.Process(replica.process.pid).cpu_times()
    return float(times.user + times.system)


def line_of(row: Measured) -> str:
    """A row of the log's table."""
    sizes = " | ".join(f"{size:.0f}" for size in (row.before, row.peak, row.windows, row.beyond))
    return f"| {row.num_uploads} | {sizes} | {row.cpu_seconds:.1f} |" + (f" {row.group:.0f} |" if row.group else "")


def section(rows: Sequence[Measured], *, growth: float, options: argparse.Namespace) -> str:
    """What the log says."""
    lines = "\n".join(map(line_of, rows))
    held = " with cached files |" if options.limit else ""
    limit = f"It is held to {options.limit} MiB as a container is, by a control group. " if options.limit else ""
    cut = "the round cut and published, " if options.cut else ""
    return f"""`python -m benchmarks.replica_memory {asked(options)}`: deltas of {options.mib} MiB, all
open at once, {cut}each time a fresh replica. {limit}
Peak resident memory in MiB; the window of an upload is {UPLOAD_WINDOW_BYTES // MIB} MiB. {machine()}.

| uploads at once | before them | peak | their windows | peak beyond the windows | CPU seconds |{held}
|---|---|---|---|---|---|{"---|" if held else ""}
{lines}{"" if len(rows) == 1 else growth_of(rows, growth=growth)}"""


def growth_of(rows: Sequence[Measured], *, growth: float) -> str:
    """What more uploads add."""
    return f"""

Beyond the windows it grows by {growth:.0f} MiB at most over that of {rows[0].num_uploads} uploads; the bar is
{BAR_MIB:.0f} MiB."""


def asked(options: argparse.Namespace) -> str:
    """The options that say what was measured."""
    counts = " ".join(map(str, options.uploads))
    limit = f" --limit {options.limit}" if options.limit else ""
    return f"--uploads {counts} --mib {options.mib}{limit}{' --bucket' * options.bucket}{' --cut' * options.cut}"


if __name__ == "__main__":
    sys.exit(main())
