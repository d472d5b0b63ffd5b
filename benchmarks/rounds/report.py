"""Writes what was measured: results.json, report.md and plots, in one folder."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.logbook import machine
from benchmarks.rounds.compared import Sweep, bars
from benchmarks.rounds.plots import plot
from benchmarks.rounds.table import bars_table, limits_table, problems, systems_table
from benchmarks.rounds.work import Work


def write(sweeps: Sequence[Sweep], works: Sequence[Work], *, command: str, isolated: bool, folder: Path) -> str:
    """Writes all of them; the report's text."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "command": command,
        "machine": machine(),
        "isolated": isolated,
        "works": [dataclasses.asdict(work) for work in works],
        "sweeps": [dataclasses.asdict(sweep) for sweep in sweeps],
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
    text = report(sweeps, works, command=command, isolated=isolated)
    (folder / "report.md").write_text(text + "\n", encoding="ascii")
    plot(sweeps, folder=folder)
    return text


def report(sweeps: Sequence[Sweep], works: Sequence[Work], *, command: str, isolated: bool) -> str:
    """The tables, and what they say."""
    first = works[0]
    tls = "on (Flower: plaintext)" if first.mtls else "off (NVFlare: always on)"
    counted = "its own loopback" if isolated else "the machine's loopback, whoever else uses it"
    failed = problems(sweeps)
    return "\n".join(
        [
            f"`{command}`: every silo pulls a projector of",
            f"{first.payload_bytes / 1e6:.1f} MB and pushes a delta of that size, {first.rounds} counted rounds",
            f"after one to warm up, {len(sweeps)} sweeps in turn; mutual TLS {tls}; server and silos on the",
            f"same cores; bytes counted on {counted}. {machine()}.",
            "Medians, with least and largest in brackets; ratios within a sweep.",
            "",
            systems_table(sweeps),
            "",
            "What the machine itself needs for the bytes of a round, one thing after the other:",
            "",
            limits_table(sweeps),
            "",
            bars_table(bars(sweeps)),
            *(["", "Did not come to their end:", "", *(f"* {line}" for line in failed)] if failed else []),
        ]
    )
