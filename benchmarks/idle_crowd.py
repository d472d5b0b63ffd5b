"""Are honest silos answered as ever while a crowd hangs on: 500 idle connections, and streams that only trickle?

    .venv/bin/python -m benchmarks.idle_crowd --log

One real aggregator process over mutual TLS. The crowd lives in a process of its own: connections that shake hands, open
HTTP/2 and do nothing, and uploads that send one byte every few seconds. What is told is the time of a unary call
(GetRound over an open connection) without and with the crowd, in turn in one run, and the process's memory and file
descriptors before it, during it, and 5 s after it left. Exit codes: 0 both bars hold; 1 one does not.
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.logbook import enter, machine
from isthmus.credentials import load_credentials
from tests.hostile.battery.crowd import member_context, open_idle, trickling
from tests.hostile.battery.site import SETTINGS, Site
from tests.hostile.battery.site import site as running
from tests.real_aggregator import ENVIRONMENT
from tests.serving import LARGE, MIB, Silo, projector_of

BAR_P99_MILLISECONDS = 100.0
BAR_IDLE_MIB = 0.25
LEAVES_WITHIN_SECONDS = 5.0
NUM_IDLE, NUM_TRICKLING = 500, 8
NUM_CALLS = 300
NUM_TURNS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """Calls in milliseconds, memory in MiB."""

    p50: float
    p99: float
    resident: float
    descriptors: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table and enters it into the log; `--crowd` is how it starts the crowd's own process."""
    parser = argparse.ArgumentParser(description="Measures unary calls beside a crowd that hangs on.")
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    parser.add_argument("--crowd", nargs=2, metavar=("ADDRESS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.crowd:
        return hang_on(*options.crowd)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-crowd-"))
        site = stack.enter_context(running(Path(folder), settings=SETTINGS))
        alone, crowded, after = measure(site)
    lines = table(alone, crowded, after)
    print(lines)
    idle = max(0.0, max(row.resident for row in crowded) - alone[0].resident) / NUM_IDLE
    p99 = max(row.p99 for row in crowded)
    print(f"p99 beside the crowd {p99:.1f} ms (bar {BAR_P99_MILLISECONDS:.0f})")
    print(f"an idle connection takes {idle:.3f} MiB (bar {BAR_IDLE_MIB})")
    if options.log:
        enter("A crowd that hangs on", section(lines, idle=idle))
    return 0 if p99 <= BAR_P99_MILLISECONDS and idle <= BAR_IDLE_MIB else 1


def measure(site: Site) -> tuple[list[Measured], list[Measured], Measured]:
    """Without and with the crowd, in turn; then 5 s after it left for the last time."""
    site.federation("crowd", projector=projector_of(LARGE))
    honest, crowd = site.silo("honest", federation="crowd"), site.aggregator.folder / "crowd"
    crowd.mkdir()
    for number in range(NUM_TRICKLING):
        name = f"crowd-{number}"
        (crowd / f"{name}.pem").write_text(site.credentials(name, federation="crowd").pem, encoding="ascii")
    alone, crowded = [], []
    for _ in range(NUM_TURNS):
        alone.append(sample(site, honest))
        with hanging_on(site.address, crowd):
            crowded.append(sample(site, honest))
        time.sleep(LEAVES_WITHIN_SECONDS)
    return alone, crowded, sample(site, honest)


def sample(site: Site, silo: Silo) -> Measured:
    """The times of many calls, and what the process holds then."""
    taken = []
    for _ in range(NUM_CALLS):
        begin = time.monotonic()
        silo.round()
        taken.append(1000 * (time.monotonic() - begin))
    resident, descriptors = site.footprint()
    p99 = sorted(taken)[math.ceil(0.99 * NUM_CALLS) - 1]
    return Measured(statistics.median(taken), p99, resident / MIB, descriptors)


@contextmanager
def hanging_on(address: str, members: Path) -> Iterator[None]:
    """The crowd in a process of its own, complete before the first call is measured."""
    command = [sys.executable, "-m", "benchmarks.idle_crowd", "--crowd", address, str(members)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "complete"
        yield
        process.kill()


def hang_on(address: str, members: str) -> int:
    """Opens everything, says so, and stays until it is killed."""
    owners = [load_credentials(file) for file in sorted(Path(members).glob("*.pem"))]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        context = member_context(Path(folder), owners[0])
        for _ in range(NUM_IDLE):
            stack.enter_context(open_idle(address, context))
        calls = [trickling(address, owner, federation="crowd") for owner in owners]
        print("complete", flush=True)
        sys.stdin.read()
        return len(calls) - NUM_TRICKLING


def table(alone: Sequence[Measured], crowded: Sequence[Measured], after: Measured) -> str:
    """The rows of the log's table."""
    named = [("alone", alone), (f"{NUM_IDLE} idle, {NUM_TRICKLING} trickling", crowded), ("5 s after", [after])]
    rows = [
        f"| {name} | {row.p50:.1f} | {row.p99:.1f} | {row.resident:.0f} | {row.descriptors} |"
        for name, measured in named
        for row in measured
    ]
    head = "| beside | p50 ms | p99 ms | resident MiB | descriptors |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def section(lines: str, *, idle: float) -> str:
    """What the log says."""
    return f"""`python -m benchmarks.idle_crowd`: {NUM_CALLS} GetRound calls over one connection, alone and beside a
crowd in a process of its own, {NUM_TURNS} times in turn; the aggregator and both on the same cores. {machine()}.

{lines}

An idle connection over mutual TLS costs {idle:.3f} MiB at most; the bar is {BAR_IDLE_MIB}. The bar of p99 beside the
crowd is {BAR_P99_MILLISECONDS:.0f} ms.
"""


if __name__ == "__main__":
    sys.exit(main())
