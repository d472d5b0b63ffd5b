"""Parts of a round alone, each at a fresh aggregator over a folder of its own.

    python -m benchmarks.rounds.parts --log

Pulls and uploads of many silos at the same moment, unary calls beside uploads, the close of a round by rule, and whole
rounds by the projector's size. Idle silos and the memory of many uploads: benchmarks/idle_crowd.py and
benchmarks/replica_memory.py. Exit codes: 0 every bar holds; 1 one does not, or a part did not come to its end.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.logbook import enter, machine
from benchmarks.rounds.compared import Bar, spread
from benchmarks.rounds.network import isolate
from benchmarks.rounds.parts.waves import Wave, beside_uploads, wave
from benchmarks.rounds.stage import ROOT, Failed, end_in_order
from benchmarks.rounds.sweeps import measure
from benchmarks.rounds.table import bars_table, markdown
from benchmarks.rounds.work import LLAVA, TINY, Work

_HIDDEN = (2768, 4096, 6576)
"""Widths whose projectors have 42, 84 and 200 MB."""

Rows = list[dict[str, object]]


def pulls(work: Work) -> tuple[Rows, list[Bar]]:
    """Eight silos pull at once."""
    found = wave(dataclasses.replace(work, silos=8), "pull")
    rate = Bar("pulls of 8 silos together, MB/s", spread([found.megabytes_per_second]), 500.0, at_least=True)
    return [row("8 silos pull", found)], [rate]


def uploads(work: Work) -> tuple[Rows, list[Bar]]:
    """One silo, 32 and 64 push at once; to a round that is not cut."""
    found = {count: wave(dataclasses.replace(work, silos=count), "push") for count in (1, 32, 64)}
    bar = Bar("32 silos, first byte to last receipt, s", spread([found[32].seconds]), 15.0)
    return [row(f"{count} push", one) for count, one in found.items()], [bar]


def latency(work: Work) -> tuple[Rows, list[Bar]]:
    """GetRound alone and beside 16 uploads."""
    alone, beside = beside_uploads(dataclasses.replace(work, silos=16))
    rows: Rows = [
        {"part": "GetRound alone", **dataclasses.asdict(alone)},
        {"part": "GetRound beside 16 uploads", **dataclasses.asdict(beside)},
    ]
    return rows, []


def closing(work: Work) -> tuple[Rows, list[Bar]]:
    """From the last receipt to the published projector, by rule and number of silos."""
    cases = [(rule, silos) for silos in (8, 32) for rule in ("mean", "median", "trimmed_mean")]
    found = {case: wave(dataclasses.replace(work, silos=case[1]), "push", rule=case[0]) for case in cases}
    rows = [row(f"{silos} push, then {rule}", one) for (rule, silos), one in found.items()]
    bar = Bar("peak above idle with mean, 32 silos, MiB", spread([found["mean", 32].above_idle_mib]), 256.0)
    return rows, [bar]


def sizes(work: Work) -> tuple[Rows, list[Bar]]:
    """Whole rounds of eight silos by the projector's size."""
    rows: Rows = []
    for hidden in _HIDDEN:
        widths = (1024, hidden, hidden) if work.widths == LLAVA else work.widths
        one = measure("ours", dataclasses.replace(work, silos=8, widths=widths))
        if one.problem:
            raise Failed(one.problem)
        rows.append(
            {
                "part": f"rounds of 8 silos, {one.payload_bytes / 1e6:.0f} MB",
                "seconds": one.wall,
                "MB/s": 16 * one.payload_bytes / 1e6 / one.wall,
                "above idle MiB": one.above_idle_mib,
                "server CPU s": one.server_cpu_seconds,
            }
        )
    return rows, [Bar("peak above idle with 200 MB, MiB", spread([float(str(rows[-1]["above idle MiB"]))]), 256.0)]


PARTS: dict[str, Callable[[Work], tuple[Rows, list[Bar]]]] = {
    "pulls": pulls,
    "uploads": uploads,
    "latency": latency,
    "closing": closing,
    "sizes": sizes,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the parts that are named, prints their tables, and writes parts.json and parts.md after each."""
    parser = argparse.ArgumentParser(description="Measures parts of a round alone.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--mtls", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of our aggregator")
    parser.add_argument("--smoke", action="store_true", help="a tiny projector; bars do not count")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "rounds" / "parts")
    parser.add_argument("--log", action="store_true", help="enter the tables into docs/LOG.md")
    options = parser.parse_args(arguments)
    end_in_order()
    isolate()
    work = Work(1, 2, TINY if options.smoke else LLAVA, mtls=options.mtls, settings=tuple(options.set))
    everything: dict[str, Rows] = {}
    bars: list[Bar] = []
    text = ""
    for name in options.parts:
        try:
            everything[name], promised = PARTS[name](work)
        except Failed as failure:
            print(f"{name}: {failure}", file=sys.stderr)
            return 1
        bars += promised
        print(f"{table_of(everything[name])}\n", flush=True)
        text = write(everything, bars, work=work, folder=options.out)
    print(bars_table(bars))
    if options.log:
        enter(f"Parts of a round, mutual TLS {'on' if options.mtls else 'off'}", text)
    return 0 if options.smoke or all(bar.holds for bar in bars) else 1


def row(part: str, found: Wave) -> dict[str, object]:
    """A wave as a row of the table."""
    return {
        "part": part,
        "seconds": found.seconds,
        "MB/s": found.megabytes_per_second,
        "above idle MiB": found.above_idle_mib,
        "server CPU s": found.server_cpu_seconds,
        "close s": found.close_seconds,
    }


def table_of(rows: Rows) -> str:
    """As markdown."""
    cells = [[value if isinstance(value, str) else f"{value:.2f}" for value in row.values()] for row in rows]
    return markdown(list(rows[0]), cells)


def write(everything: dict[str, Rows], bars: Sequence[Bar], *, work: Work, folder: Path) -> str:
    """Writes all that there is so far; as text."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "work": dataclasses.asdict(work), "parts": everything}
    (folder / "parts.json").write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
    size = f"{work.payload_bytes / 1e6:.1f} MB"
    opening = (
        f"`python -m benchmarks.rounds.parts`: projectors and deltas of {size}, one fresh aggregator each. {machine()}."
    )
    text = "\n\n".join([opening, *map(table_of, everything.values()), bars_table(bars)])
    (folder / "parts.md").write_text(text + "\n", encoding="ascii")
    return text


if __name__ == "__main__":
    sys.exit(main())
