"""docs/hostile-battery.md: every case of the battery, what it must end with, and the test that sends it.

`python -m tests.hostile.battery.table` writes it (make battery-table); a test compares it with the tests.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from isthmus.errors import IsthmusError
from isthmus.status import CODES

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "hostile-battery.md"
COUNTS = {"A": 38, "B": 30, "C": 31, "D": 16, "E": 19, "F": 19, "G": 10}
"""How many cases each letter has, numbered from 1."""

ELSEWHERE: dict[str, tuple[str, str]] = {
    "E19": (
        "authorities and server certificate rotated under open connections",
        "tests/integration/test_enrolment_over_grpc.py::test_server_takes_up_its_next_certificate",
    ),
    "F15": ("disk full in the middle of a push", "tests/integration/test_limits.py"),
    "F16": ("store away", "tests/integration/test_failing_store.py::test_every_call_tells_when_to_come_back"),
    "F17": ("drain", "tests/integration/test_aggregator_process.py::test_process_serves_drains_and_ends_well"),
    "F19": (
        "connection past its greatest age: the aggregator sets none; a broken stream resumes at any byte",
        "tests/integration/test_resume_at_any_byte.py",
    ),
}
"""Cases that are sent by a test outside of the battery, which says more about them."""

_ID = re.compile(r"\b([A-G]\d\d)\b")

HEAD = """# The hostile battery

Written by `make battery-table` from the tests in `tests/hostile/battery`, which send every case at a real aggregator
process over real mutual TLS. After each file the aggregator must not have failed once (no INTERNAL, no UNKNOWN, no
traceback), and its memory and descriptors must be back within 5 s (96 MiB and 8 descriptors of slack, for what the
allocator and gRPC's threads hold back). What is not protected from stands in [threat-model.md](threat-model.md).

A: safetensors headers. B: tensors, values, claims. C: the order of a push. D: rounds, federations, replays.
E: identity. F: resources. G: what an aggregator says that a silo must not believe; the real agent ends with
AGGREGATOR_UNTRUSTED, and here it is the aggregator that is the test's own.

| id | case | ends with | test |
|---|---|---|---|
"""


class Row(NamedTuple):
    """One line of the table."""

    id: str
    case: str
    ends_with: str
    test: str


class _Collected:
    """A plugin of pytest that keeps what it collects."""

    def __init__(self) -> None:
        self.items: list[pytest.Function] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keeps the tests."""
        self.items = [item for item in session.items if isinstance(item, pytest.Function)]


def rows() -> list[Row]:
    """The table's rows, by id."""
    collected = _Collected()
    pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", str(Path(__file__).parent)], plugins=[collected])
    found = [row for item in collected.items for row in _rows_of(item)]
    found += [Row(name, case, "see there", f"`{test}`") for name, (case, test) in ELSEWHERE.items()]
    return sorted(set(found))


def _rows_of(item: pytest.Function) -> Iterator[Row]:
    """The rows of one test: by the ids in its parameters, else by those in its name and claim."""
    parameters = item.callspec.id if hasattr(item, "callspec") else ""
    claim = (item.function.__doc__ or "").split("\n")[0].strip()
    ids = _ids(parameters) or _ids(claim) or _ids(item.name.upper().replace("_", " "))
    case = re.sub(r"^[A-G]\d\d-", "", parameters) if _ids(parameters) else claim
    place = f"`{Path(item.path).name}::{item.function.__name__}`"
    for name in dict.fromkeys(ids):
        yield Row(name, _cell(case), _ends_with(item), place)


def _ids(text: str) -> list[str]:
    """The battery's ids in a text."""
    return [name for name in _ID.findall(text) if int(name[1:]) <= COUNTS[name[0]]]


def _ends_with(item: pytest.Function) -> str:
    """Status and reason, where a parameter of the test says so."""
    if not hasattr(item, "callspec"):
        return "see the test"
    values = list(item.callspec.params.values())
    tables = [value for value in vars(item.module).values() if isinstance(value, dict)]
    values += [table[value] for table in tables for value in values if isinstance(value, str) and value in table]
    values += [getattr(value, "expected", None) for value in values]
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    for part in flat:
        if isinstance(part, type) and issubclass(part, IsthmusError) and part in CODES:
            return f"{CODES[part].name} {part.reason}"
    return "see the test"


def _cell(text: str) -> str:
    """Text that stays within its cell: printable ASCII."""
    plain = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)
    return plain.replace("|", "\\|")[:140]


def text() -> str:
    """The whole document."""
    return HEAD + "".join(f"| {row.id} | {row.case} | {row.ends_with} | {row.test} |\n" for row in rows())


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT.relative_to(ROOT)} is written.\n")
