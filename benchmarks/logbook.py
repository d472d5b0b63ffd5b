"""Enters what a benchmark measured into docs/LOG.md: no number there is written by hand."""

import os
import platform
import re
from pathlib import Path

LOG = Path(__file__).parents[1] / "docs" / "LOG.md"


def enter(heading: str, body: str, *, log: Path = LOG) -> None:
    """Puts a section first in the log; an older one of the same heading goes."""
    text = log.read_text(encoding="utf-8")
    text = re.sub(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    opening, mark, rest = text.partition("\n## ")
    log.write_text(f"{opening.rstrip()}\n\n## {heading}\n\n{body.strip()}\n{mark}{rest}", encoding="utf-8")


def machine() -> str:
    """Where the numbers come from, in words."""
    one, _, _ = os.getloadavg()
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"load average {one:.1f} when it ended"
    )
