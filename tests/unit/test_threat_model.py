"""docs/threat-model.md rests on tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")


def test_every_threat_names_tests_that_exist() -> None:
    """Each row of the table ends with tests, and each of them is a file in the tree."""
    rows = [
        line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith(("| who |", "|---"))
    ]
    named = [re.findall(r"`(tests/\S+\.py)`", row.rsplit("|", 2)[1]) for row in rows]

    assert len(rows) > 10
    assert all(named)
    assert [file for files in named for file in files if not (ROOT / file).is_file()] == []
