"""What a storm found, as a matrix for people, JSON for programs, and a section of docs/LOG.md."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.logbook import enter
from tests.chaos.cells import Cell
from tests.chaos.scene import MASKED, PLAIN
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
        rounds = self.findings.rounds
        missing = [str(cell) for cell in self.cells if not self.findings.runs[cell]]
        complaints = list(self.findings.problems)
        if missing:
            complaints.append(f"{len(missing)} cells were not run: {', '.join(missing)}.")
        for play in {cell.play for cell in self.cells}:
            if not rounds[play, False]:
                complaints.append(f"No round of a disturbed {play} run came to a new projector.")
        if self.findings.num_kills < self.wanted_kills:
            complaints.append(f"{self.findings.num_kills} kills instead of {self.wanted_kills}.")
        return complaints

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        findings = self.findings
        return (
            f"{findings.num_kills} kills and {sum(findings.runs.values())} faults over {len(self.cells)} cells in "
            f"{findings.num_episodes} federations of three replicas on a {self.store} store, "
            f"{findings.seconds:.0f} s: "
            + ("NOT GREEN" if self.complaints else "every cell run; " + "; ".join(self._yields()))
        )

    def _yields(self) -> Iterator[str]:
        """What the legs came to, where they are green."""
        rounds = self.findings.rounds
        if rounds[PLAIN.name, False]:
            yield f"{rounds[PLAIN.name, False]} plain rounds, every projector that of the undisturbed run"
        if rounds[MASKED.name, False]:
            yield (
                f"{rounds[MASKED.name, False]} masked rounds opened, each to the mean of what its silos sent, and "
                f"{rounds[MASKED.name, True]} that ended without a change"
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
        tables = dict.fromkeys((cell.play, cell.role) for cell in self.cells)
        return "\n\n".join(self._table(play, role) for play, role in tables) + f"\n\n{self.summary}.\n"

    def document(self) -> dict[str, object]:
        """All of it, as JSON holds it."""
        lineage = self.findings.lineages.get(PLAIN.name)
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
                    "play": cell.play,
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
            f"| {play} | {role} | {fault} | {len(cells)} | {sum(self.findings.runs[cell] for cell in cells)} "
            f"| {sum(self.findings.failed[cell] for cell in cells)} |"
            for (play, role, fault), cells in self._by_fault().items()
        )
        body = (
            f"`{self.command}`: {self.summary}.\n\n"
            f"| federation | who | fault | points | runs | not green |\n|---|---|---|---|---|---|\n{rows}"
        )
        enter(f"Chaos, {today.isoformat()}", body)

    def _by_fault(self) -> dict[tuple[str, str, str], list[Cell]]:
        found: dict[tuple[str, str, str], list[Cell]] = {}
        for cell in self.cells:
            found.setdefault((cell.play, cell.role, cell.fault), []).append(cell)
        return found

    def _table(self, play: str, role: str) -> str:
        cells = [cell for cell in self.cells if (cell.play, cell.role) == (play, role)]
        faults = list(dict.fromkeys(cell.fault for cell in cells))
        points = list(dict.fromkeys(cell.point for cell in cells))
        rows = [[f"{play} {role}", *faults]]
        rows += [[point, *(self.verdict(Cell(role, point, fault, play)) for fault in faults)] for point in points]
        return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Iterable[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
