"""What a storm found, as a matrix for people, JSON for programs, and a section of docs/LOG.md."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.logbook import enter
from tests.chaos.cells import Cell
from tests.chaos.storm import Findings

NOT_RUN, FAILED, NOT_ASKED = "NOT RUN", "FAILED", "-"


@dataclass(frozen=True, slots=True)
class Report:
    """One call's result.

    Attributes:
        command: Repeats it.
        cells: What had to be run.
        findings: What was found.
        wanted_kills: At least so many processes had to be killed.
        store: What kind of store it was.
    """

    command: str
    cells: Sequence[Cell]
    findings: Findings
    wanted_kills: int
    store: str

    @property
    def complaints(self) -> list[str]:
        """Why this is no success; empty when it is one."""
        missing = [str(cell) for cell in self.cells if not self.findings.runs[cell]]
        complaints = list(self.findings.problems)
        if missing:
            complaints.append(f"{len(missing)} cells were not run: {', '.join(missing)}.")
        if self.findings.num_kills < self.wanted_kills:
            complaints.append(f"{self.findings.num_kills} kills instead of {self.wanted_kills}.")
        return complaints

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        findings = self.findings
        return (
            f"{findings.num_kills} kills and {sum(findings.runs.values())} faults over {len(self.cells)} cells in "
            f"{findings.num_episodes} federations of three replicas and three silos on a {self.store} store, "
            f"{findings.seconds:.0f} s: "
            + ("NOT GREEN" if self.complaints else "every cell run, every projector that of the undisturbed run")
        )

    def verdict(self, cell: Cell) -> str:
        """How often a cell was run and how it went, in a word or two."""
        if cell not in self.cells:
            return NOT_ASKED
        runs, failed = self.findings.runs[cell], self.findings.failed[cell]
        if not runs:
            return NOT_RUN
        return f"{failed}/{runs} {FAILED}" if failed else f"{runs} ok"

    def matrix(self) -> str:
        """One table for each role: its points down, its faults across."""
        roles = dict.fromkeys(cell.role for cell in self.cells)
        return "\n\n".join(self._table(role) for role in roles) + f"\n\n{self.summary}.\n"

    def document(self) -> dict[str, object]:
        """All of it, as JSON holds it."""
        lineage = self.findings.lineage
        return {
            "command": self.command,
            "green": not self.complaints,
            "complaints": self.complaints,
            "num_kills": self.findings.num_kills,
            "num_episodes": self.findings.num_episodes,
            "seconds": round(self.findings.seconds, 1),
            "store": self.store,
            "final_projector": lineage.projectors[-1] if lineage else "",
            "cells": [
                {
                    "role": cell.role,
                    "point": cell.point,
                    "fault": cell.fault,
                    "runs": self.findings.runs[cell],
                    "failed": self.findings.failed[cell],
                }
                for cell in self.cells
            ],
        }

    def write(self, folder: Path) -> None:
        """Writes report.json and matrix.txt."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.document(), indent=1) + "\n", encoding="ascii")
        (folder / "matrix.txt").write_text(self.matrix(), encoding="ascii")

    def log(self, *, today: date) -> None:
        """Enters the numbers into the log of measurements."""
        rows = "\n".join(
            f"| {role} | {fault} | {len(cells)} | {sum(self.findings.runs[cell] for cell in cells)} "
            f"| {sum(self.findings.failed[cell] for cell in cells)} |"
            for (role, fault), cells in self._by_fault().items()
        )
        body = (
            f"`{self.command}`: {self.summary}.\n\n"
            f"| who | fault | points | runs | not green |\n|---|---|---|---|---|\n{rows}"
        )
        enter(f"Chaos, {today.isoformat()}", body)

    def _by_fault(self) -> dict[tuple[str, str], list[Cell]]:
        found: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            found.setdefault((cell.role, cell.fault), []).append(cell)
        return found

    def _table(self, role: str) -> str:
        cells = [cell for cell in self.cells if cell.role == role]
        faults = list(dict.fromkeys(cell.fault for cell in cells))
        points = list(dict.fromkeys(cell.point for cell in cells))
        rows = [[role, *faults]]
        rows += [[point, *(self.verdict(Cell(role, point, fault)) for fault in faults)] for point in points]
        return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Iterable[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
