"""How the command line shows values: aligned plain text for people, JSON for programs. Pure."""

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple


class Answer(NamedTuple):
    """What a command found out."""

    data: object
    """For --json: anything `plain` understands."""
    text: str
    """For people."""
    exit_code: int = 0
    """1: what was asked for was done, and found something wrong."""


class Lines(NamedTuple):
    """Data of which --json shows one object a line."""

    rows: Sequence[object]


def as_json(data: object) -> str:
    """What --json shows."""
    if isinstance(data, Lines):
        return "\n".join(json.dumps(plain(row), sort_keys=True) for row in data.rows)
    return json.dumps(plain(data), indent=2, sort_keys=True)


def plain(value: object) -> object:
    """A value of ours as JSON has it: dataclasses by field, bytes as hex digits, instants as ISO 8601 in UTC."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat()
        case enum.Enum():
            return value.value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under their names, two spaces apart; a column of numbers stands to the right."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(header, *cells, strict=True)]
    right = [any(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(header), *cells]
    ]
    return "\n".join(lines)


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they are, one a line, aligned."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}".rstrip() for name, text in rows)


def cell(value: object) -> str:
    """One value of a table."""
    match value:
        case None | "":
            return "-"
        case bytes():
            return value.hex()[:12] or "-"
        case datetime():
            return instant(value)
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
        case enum.Enum():
            return str(value.value)
        case _:
            return str(value)


def instant(when: datetime) -> str:
    """To the second, in UTC."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def size(num_bytes: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if num_bytes >= 1 << power:
            return f"{num_bytes / (1 << power):.1f} {unit}"
    return f"{num_bytes} B"


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 silo", "2 silos"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
