"""What does each rule cost: seconds, processor seconds and memory of combining 32 deltas of 84 MB, beside the mean?

    .venv/bin/python -m benchmarks.rules_cost --log

A round of many silos lies in a local store, staged as the service stages it, its roster fixed. Every strategy combines
the same roster in a process of its own, as a replica does, with the default server optimizer; nothing is published.
Turns go round all strategies, so that a busy minute does not fall on one. Wall time runs from the roster to the
file; memory is the process's peak resident set, interpreter and imports included. Exit codes: 0 the bars are kept;
1 one is not: the mean's seconds, those of `robust` (nearest-neighbour mixing, then the trimmed mean), anybody's MiB.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.advance import cut
from aggregator.aggregate import aggregate
from aggregator.heap import bound_heap
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing
from aggregator.pre_steps import PRE_STEPS
from aggregator.publication import inputs_of
from aggregator.rules import RULES
from aggregator.stores import open_store
from benchmarks.logbook import enter, machine
from isthmus.chunks import SEGMENT_BYTES
from isthmus.federation import Choice, StrategyPolicy
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.ledgers import NAME, after, found, staged
from tests.sharded_rounds import definition

MIB = 1 << 20
COLUMNS = 4096
BUDGET_BYTES = 256 * MIB
"""What a replica has by default."""

BARS_SECONDS = {"mean": 15.0, "robust": 30.0}
BAR_MIB = 1536.0
STRATEGIES = (*RULES, *(f"{step}+mean" for step in PRE_STEPS), "norm_clip+nnm+krum")
"""By their names in a manifest: pre-steps, then the rule."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One combine: wall and processor seconds, peak MiB of the process, the published projector's digest."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    digest: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures every strategy, prints the table and enters it into the log."""
    parser = argparse.ArgumentParser(description="Measures what each rule and pre-step costs.")
    parser.add_argument("--silos", type=int, default=32)
    parser.add_argument("--rows", type=int, default=5120, help="of a projector [rows, 4096]; 5120 have 84 MB")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), help='for example "nnm+median"')
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        print(json.dumps(combined(*options.alone)))
        return 0
    found_turns: dict[str, list[Turn]] = {name: [] for name in ("mean", *options.strategies)}
    with tempfile.TemporaryDirectory(prefix="isthmus-rules-") as folder:
        stage(folder, rows=options.rows, num_silos=options.silos)
        for _ in range(options.turns):
            for name, turns in found_turns.items():
                turns.append(turn(folder, name))
                print(f"{name}: {turns[-1].seconds:.1f} s, {turns[-1].peak_mib:.0f} MiB", flush=True)
    text, size_mb = table(found_turns), options.rows * COLUMNS * 4 / 1e6
    print(text)
    if options.log:
        enter("What each rule costs", section(text, silos=options.silos, size_mb=size_mb, turns=options.turns))
    return 0 if kept(found_turns) else 1


def stage(store: str, *, rows: int, num_silos: int) -> None:
    """A federation whose first roster stands."""
    spec = ProjectorSpec((TensorSpec("bias", "F32", (COLUMNS,)), TensorSpec("weight", "F32", (rows, COLUMNS))))
    ledger = Ledger(open_store(store))
    silos = tuple(f"silo-{number:02d}" for number in range(num_silos))
    found(ledger, definition("mean", "sgd", silos=num_silos), silos=silos, spec=spec)
    for silo in silos:
        ledger.commit_contribution(staged(ledger, silo, segment_bytes=SEGMENT_BYTES))
    cut(ledger, NAME, ledger.mark_closing(NAME, Closing(1, "all are in", after(2))))


def turn(store: str, name: str) -> Turn:
    """One combine in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rules_cost", "--alone", store, name]
    return Turn(*json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def combined(store: str, name: str) -> tuple[float, float, float, str]:
    """What a `Turn` holds, of this process."""
    bound_heap()  # as a replica does
    *pre_steps, rule = (Choice(name=part) for part in name.split("+"))
    ledger = Ledger(open_store(store))
    roster = ledger.roster(NAME, 1)
    assert roster is not None
    started, cpu_started = time.monotonic(), time.process_time()
    record, first = ledger.federation(NAME), ledger.manifest(NAME, 0)
    inputs = inputs_of(ledger, record, first, contributions=ledger.roster_contributions(roster))
    with tempfile.TemporaryFile() as projector, tempfile.TemporaryFile() as state:
        given = aggregate(
            inputs,
            StrategyPolicy(pre_steps=tuple(pre_steps), rule=rule),
            memory_budget_bytes=BUDGET_BYTES,
            projector_out=projector,
            state_out=state,
        )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.monotonic() - started, time.process_time() - cpu_started, peak_mib, given.projector.digest.hex()


def seconds_of(turns: Sequence[Turn]) -> float:
    """The median of the turns' wall seconds."""
    return statistics.median(one.seconds for one in turns)


def table(found_turns: dict[str, list[Turn]]) -> str:
    """Every strategy's numbers, beside the mean's."""
    base = seconds_of(found_turns["mean"])
    lines = ["| strategy | s (median; all) | CPU s | beside the mean | peak MiB |", "|---|---|---|---|---|"]
    for name, turns in found_turns.items():
        assert len({one.digest for one in turns}) == 1, name
        every = ", ".join(f"{one.seconds:.1f}" for one in turns)
        cpu = statistics.median(one.cpu_seconds for one in turns)
        lines.append(
            f"| `{name}` | {seconds_of(turns):.1f} ({every}) | {cpu:.1f} | {seconds_of(turns) / base:.2f} | "
            f"{max(one.peak_mib for one in turns):.0f} |"
        )
    return "\n".join(lines)


def kept(found_turns: dict[str, list[Turn]]) -> bool:
    """Whether every bar is."""
    slow = [name for name, bar in BARS_SECONDS.items() if name in found_turns and seconds_of(found_turns[name]) > bar]
    large = [name for name, turns in found_turns.items() if max(one.peak_mib for one in turns) > BAR_MIB]
    for name in (*slow, *large):
        print(f"{name} is beyond its bar")
    return not slow and not large


def section(text: str, *, silos: int, size_mb: float, turns: int) -> str:
    """What the log says."""
    bars = ", ".join(f"`{name}` {bar:.0f} s" for name, bar in BARS_SECONDS.items())
    return f"""`python -m benchmarks.rules_cost --silos {silos} --turns {turns}`: {silos} deltas of {size_mb:.0f} MB
(float32) in a local store, combined in a process of its own each time, default options, server optimizer `sgd`, a
memory budget of {BUDGET_BYTES // MIB} MiB. Pre-steps stand before the rule, joined by `+`. The bars: {bars}, all
{BAR_MIB:.0f} MiB. {machine()}.

{text}

Every turn of a strategy gave the same digest."""


if __name__ == "__main__":
    sys.exit(main())
