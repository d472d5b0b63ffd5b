"""The regression guard: has our round become slower or larger, beside the naive server in the same run?

    python -m benchmarks.rounds.guard

Ratios alone, so that it holds on any machine; generous, so that it fails for a regression and not for noise. Exit
codes: 0 every bound holds; 1 one does not, or a measurement did not come to its end.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.rounds.compared import OURS, Bar, Sweep, ratios
from benchmarks.rounds.network import isolate
from benchmarks.rounds.stage import end_in_order
from benchmarks.rounds.sweeps import sweeps
from benchmarks.rounds.table import bars_table, problems
from benchmarks.rounds.work import LLAVA, Work

_NAIVE = "naive"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures ours and the naive server in turn, and judges the ratios."""
    parser = argparse.ArgumentParser(description="Fails when a round has become slower or larger.")
    parser.add_argument("--silos", type=int, default=4)
    parser.add_argument("--sweeps", type=int, default=2)
    parser.add_argument("--widths", type=int, nargs=3, default=LLAVA, metavar=("IN", "HIDDEN", "OUT"))
    options = parser.parse_args(arguments)
    end_in_order()
    isolate()
    done: list[Sweep] = []
    work = Work(options.silos, 2, tuple(options.widths))
    for line, so_far in sweeps([OURS, _NAIVE], [work], count=options.sweeps):
        print(line, flush=True)
        done = so_far
    found = bounds(done, options.silos)
    print(bars_table(found))
    return 0 if found and all(bar.holds for bar in found) and not problems(done) else 1


def bounds(done: Sequence[Sweep], silos: int) -> list[Bar]:
    """What may not be exceeded: ours over the naive server's, each of the same sweep.

    The naive server keeps everything in memory and syncs nothing; ours admits, signs and syncs, and stays small.
    """
    wall = ratios(done, OURS, silos, of=lambda one: one.wall, to=_NAIVE)
    cpu = ratios(done, OURS, silos, of=lambda one: one.server_cpu_seconds, to=_NAIVE)
    memory = ratios(done, OURS, silos, of=lambda one: one.above_idle_mib, to=_NAIVE)
    wire = ratios(done, OURS, silos, of=lambda one: one.loopback_bytes, to=_NAIVE)
    return [
        Bar("seconds, over the naive server's", wall, 3.0),
        Bar("server CPU, over the naive server's", cpu, 2.5),
        Bar("server memory above idle, over the naive server's", memory, 0.4),
        Bar("bytes on loopback, over the naive server's", wire, 1.1),
    ]


if __name__ == "__main__":
    sys.exit(main())
