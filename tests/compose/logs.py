"""What containers log: the JSON lines of replicas and agents, with their times."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from isthmus.logs import Event

FAILED = (Event.DELTA_REFUSED, Event.DELTA_DROPPED)
"""What a silo's log tells of an upload that came to nothing."""


@dataclass(frozen=True)
class Entry:
    """One line of a log.

    Attributes:
        at: Seconds since 1970.
        level: As `logging` names it.
        event: Of `isthmus.logs.Event`, or what another library says.
        line: As it was written.
    """

    at: float
    level: str
    event: str
    line: str


def entries(log: str) -> list[Entry]:
    """The JSON lines of a log by their times; what other programs of the container wrote is left out."""
    told = [(line, json.loads(line)) for line in log.splitlines() if line.startswith("{")]
    found = [
        Entry(datetime.fromisoformat(one["at"]).timestamp(), one["level"], one["event"], line) for line, one in told
    ]
    return sorted(found, key=lambda one: one.at)


def failures(told: Iterable[Entry]) -> list[Entry]:
    """What nobody wants to read in a silo's log: errors, and deltas that were refused or came too late."""
    return [one for one in told if one.level == "ERROR" or one.event in FAILED]
