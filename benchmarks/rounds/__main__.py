"""One round without training: ours, Flower, NVFlare, the naive server and the machine's limits, in turn.

    python -m benchmarks.rounds --peers ours,naive,flower,nvflare --silos 2 4 8 --sweeps 3

Server and silos share this machine. Each sweep measures every system once, one after the other, so that a ratio
compares neighbours. What came out is in reports/rounds: results.json, report.md, and plots over the number of silos.
Exit codes: 0 every bar that was measured holds; 1 one does not, or a measurement did not come to its end.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environments import PINS, environment_of
from benchmarks.logbook import enter
from benchmarks.rounds.compared import Sweep, bars
from benchmarks.rounds.network import isolate
from benchmarks.rounds.report import write
from benchmarks.rounds.stage import ROOT, end_in_order
from benchmarks.rounds.sweeps import BESIDE_EACH_OTHER, SYSTEMS, sweeps
from benchmarks.rounds.table import problems
from benchmarks.rounds.work import LLAVA, TINY, Work


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and writes the report anew after every measurement: what there is stays, whatever comes later."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    command = " ".join(["python -m benchmarks.rounds", *given])
    for peer in PINS.keys() & set(options.peers):
        try:
            environment_of(peer)  # before the network is gone
        except RuntimeError as error:
            raise SystemExit(f"{error}\nOr leave {peer} out of --peers.") from error
    end_in_order()
    isolated = isolate()
    works = works_of(options)
    done: list[Sweep] = []
    text = ""
    for line, done in sweeps(options.peers, works, count=options.sweeps):
        print(line, flush=True)
        text = write(done, works, command=command, isolated=isolated, folder=options.out)
    print(f"\n{text}\n\n{options.out}")
    if options.log:
        enter(f"Rounds beside others, mutual TLS {'on' if options.mtls else 'off'}", text)
    held = options.smoke or all(bar.holds for bar in bars(done))
    return 0 if held and not problems(done) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Measures a round without training, ours beside others.")
    made.add_argument(
        "--peers", type=_systems, default=list(BESIDE_EACH_OTHER), help=f"of {', '.join(SYSTEMS)}; by commas"
    )
    made.add_argument("--silos", type=int, nargs="+", default=[8])
    made.add_argument("--sweeps", type=int, default=3)
    made.add_argument("--rounds", type=int, default=3, help="counted ones; one more goes before them")
    made.add_argument(
        "--widths", type=int, nargs=3, default=LLAVA, metavar=("IN", "HIDDEN", "OUT"), help="the projector"
    )
    made.add_argument("--mtls", action="store_true", help="mutual TLS, where that can be chosen")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of our aggregator")
    made.add_argument("--place", default="", help="a folder on a real disk for stores; .cache/benchmarks of this tree")
    made.add_argument("--out", type=Path, default=ROOT / "reports" / "rounds")
    made.add_argument("--log", action="store_true", help="enter the report into docs/LOG.md")
    made.add_argument("--smoke", action="store_true", help="a tiny projector, two silos, one sweep; bars do not count")
    return made


def works_of(options: argparse.Namespace) -> list[Work]:
    """What is measured, by the number of silos."""
    if options.smoke:
        options.silos, options.sweeps, options.rounds, options.widths = [2], 1, 2, TINY
    widths, settings = tuple(options.widths), tuple(options.set)
    chosen = {"mtls": options.mtls, "settings": settings, "place": options.place}
    return [Work(silos, options.rounds, widths, **chosen) for silos in options.silos]


def _systems(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SYSTEMS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(SYSTEMS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
