"""The battery is whole, and its table in docs/ is that of the tests."""

import subprocess
import sys

from tests.hostile.battery.table import COUNTS, DOCUMENT, ELSEWHERE, ROOT

CASES = {f"{letter}{number:02}" for letter, count in COUNTS.items() for number in range(1, count + 1)}


def test_every_case_has_a_test_and_the_table_is_true() -> None:
    """No id of the battery lacks a test, and docs/hostile-battery.md is what the tests give."""
    code = "from tests.hostile.battery.table import text; import sys; sys.stdout.write('\\n@@' + text())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    made = ran.stdout.partition("\n@@")[2].partition("@@")[2] or ran.stdout.rpartition("@@")[2]

    assert CASES - {line[2:5] for line in made.splitlines() if line.startswith("| ")} == set()
    assert DOCUMENT.read_text(encoding="utf-8") == made


def test_tests_elsewhere_exist() -> None:
    """A case that is sent by another test names one that is there."""
    for _, test in ELSEWHERE.values():
        file, _, name = test.partition("::")
        assert name in (ROOT / file).read_text(encoding="utf-8")
