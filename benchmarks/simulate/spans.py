"""What a simulated silo did, as values, and the file that a crowd's process leaves of it."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

INVITE, ENROL, NOTICE, PULL, PUSH = "invite", "enrol", "notice", "pull", "push"
"""Phases. `notice` has no beginning of its own: it ends when the silo learns of the round."""


@dataclass(frozen=True, slots=True)
class Span:
    """One silo in one phase of one round; instants in seconds since the epoch. Enrolment has round 0."""

    silo: str
    phase: str
    round: int
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin


@dataclass(slots=True)
class Seen:
    """What the silos of a crowd, or of a process of it, saw.

    Attributes:
        spans: In no order.
        asked: Calls that were sent, by the phase that sent them; repeated ones count as often.
        turned_away: Calls that the aggregator asked to come back later or that broke, by reason; all were repeated.
        failures: What ended a silo's run, by reason.
    """

    spans: list[Span] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    turned_away: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


def together(parts: Iterable[Seen]) -> Seen:
    """All of them as one."""
    whole = Seen()
    for part in parts:
        whole.spans += part.spans
        whole.asked += part.asked
        whole.turned_away += part.turned_away
        whole.failures += part.failures
    return whole


def save(file: Path, seen: Seen) -> None:
    """Writes the file."""
    counts = {"asked": seen.asked, "turned_away": seen.turned_away, "failures": seen.failures}
    spans = [dataclasses.asdict(one) for one in seen.spans]
    file.write_text(json.dumps({"spans": spans, **counts}), encoding="ascii")


def load(file: Path) -> Seen:
    """Reads it."""
    found = json.loads(file.read_text(encoding="ascii"))
    counts = (Counter(found[name]) for name in ("asked", "turned_away", "failures"))
    return Seen([Span(**one) for one in found["spans"]], *counts)
