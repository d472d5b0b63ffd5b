"""Real replicas and agents, killed, stopped, cut off and lied to until every cell of the matrix is run.

    python -m tests.chaos --seconds 900 --kills 1000 --seed 7

Exit codes: 0 every cell was run and every run ended with the projectors of the undisturbed run; 1 not so.
"""

import argparse
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.cells import Cell, is_possible, orders_for
from tests.chaos.legs import LEGS, Leg
from tests.chaos.orders import Order
from tests.chaos.processes import ROOT, nursery
from tests.chaos.report import Report
from tests.chaos.storm import Findings, Setting, Storm
from tests.s3_server import KEY, SECRET, find_server, serving_s3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the storm, prints and writes the matrix; the exit code."""
    options = _parser().parse_args(arguments)
    if not options.s3:
        return _storm(options, sys.argv[1:] if arguments is None else arguments)
    server = find_server()
    if server is None:
        _say("No S3 server could be had; see tests/s3_server.py.")
        return 1
    with tempfile.TemporaryDirectory(prefix="isthmus-s3-") as folder, serving_s3(server, Path(folder)) as url:
        os.environ.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
        options.store = url
        return _storm(options, sys.argv[1:] if arguments is None else arguments)


def _storm(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    local = not options.store
    legs = {
        name: tuple(cell for cell in _chosen(options, leg) if is_possible(cell, local=local))
        for name, leg in LEGS.items()
        if name in (options.leg or LEGS)
    }
    folder = Path(tempfile.mkdtemp(prefix="isthmus-chaos-", dir=options.folder))
    setting = Setting(folder, options.store, options.rounds, options.seed, say=_say)
    end = time.monotonic() + options.seconds
    findings, kills = Findings(), 0
    with nursery() as running:
        for name, cells in legs.items():
            kills += round(options.kills * len(cells) / sum(map(len, legs.values())))
            _rage(Storm(running, setting, leg=LEGS[name], findings=findings), cells, options, kills=kills, until=end)
    command = shlex.join(["python", "-m", "tests.chaos", *arguments])
    everything = tuple(cell for cells in legs.values() for cell in cells)
    report = Report(command, everything, findings, kills, "local" if local else "real S3")
    report.write(options.out)
    sys.stdout.write(report.matrix())
    for complaint in report.complaints:
        _say(f"NOT GREEN: {complaint}")
    if report.complaints:
        _say(f"Repeat with: python -m tests.chaos --seed {options.seed} (its folders are under {folder})")
        return 1
    if options.log:
        report.log(today=datetime.now(UTC).date())
    os.rmdir(folder)
    return 0


def _rage(storm: Storm, cells: Sequence[Cell], options: argparse.Namespace, *, kills: int, until: float) -> None:
    """Every cell, then kills at random until there are so many; stops at the first failure, or when time is up."""
    dice, findings = random.Random(options.seed), storm.findings
    orders = list(orders_for(cells, times=options.times, dice=dice, start=1))
    while orders and not findings.problems and time.monotonic() < until:
        storm.rage(orders, until=until)
        orders = _kills(cells, kills - findings.num_kills, dice=dice, start=orders[-1].number + 1)


def _kills(cells: Sequence[Cell], count: int, *, dice: random.Random, start: int) -> list[Order]:
    """So many kills at random points; none where there is none to choose or nothing is missing."""
    deadly = [cell for cell in cells if cell.fault == "kill"]
    chosen = dice.choices(deadly, k=count) if deadly and count > 0 else []
    return list(orders_for(chosen, times=1, dice=dice, start=start))


def _chosen(options: argparse.Namespace, leg: Leg) -> Sequence[Cell]:
    if options.cell:
        return [cell for cell in leg.cells if str(cell) in options.cell]
    return leg.short if options.short else leg.cells


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1500.0, help="give up what is not run by then")
    parser.add_argument("--kills", type=int, default=1000, help="at least so many processes are killed")
    parser.add_argument("--times", type=int, default=2, help="runs of every cell")
    parser.add_argument("--seed", type=int, default=1, help="of all that is chosen at random")
    parser.add_argument("--rounds", type=int, default=6, help="of each federation")
    parser.add_argument("--store", default="", help="the URL of a bucket; absent: a local store for each run")
    parser.add_argument("--s3", action="store_true", help="start a real S3 server, and use that")
    parser.add_argument("--short", action="store_true", help="only the cells of the default suite")
    parser.add_argument("--leg", action="append", choices=LEGS, help="only this one; may be given again")
    parser.add_argument(
        "--cell", action="append", metavar="[masked:]ROLE:POINT:FAULT", help="only this cell; may be given again"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the runs take place; absent: a temporary one")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "chaos", help="where the report is written")
    parser.add_argument("--log", action="store_true", help="add the numbers to docs/LOG.md when all is green")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
