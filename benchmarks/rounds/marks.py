"""Marks: what happened when, appended by all processes of a measurement to one file. Needs nothing but Python.

"published" (round): a global projector is there. "open" (round, silo): a silo knows that the round is open.
"pulled", "pushed" (round, silo): it has the projector, or the answer to its delta.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

FILE = "ISTHMUS_BENCH_MARKS"
"""The environment variable that names the file."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One of them; `at` in seconds since the epoch, which all processes of a machine share."""

    name: str
    round: int
    at: float
    silo: str = ""


def mark(name: str, *, round: int, silo: str = "", at: float = 0.0) -> None:
    """Appends one: of now, or of the instant given."""
    line = json.dumps({"name": name, "round": round, "at": at or time.time(), "silo": silo})
    with Path(os.environ[FILE]).open("a", encoding="ascii") as file:
        file.write(f"{line}\n")  # one write: lines of several processes do not mix


def read_marks(file: Path) -> list[Mark]:
    """All of them so far; a line that is being written is left out."""
    text = file.read_text(encoding="ascii") if file.exists() else ""
    return [Mark(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]
