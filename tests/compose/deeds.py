"""What was done to a federation, and what its logs tell of the time while it was done."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.logs import Event
from tests.compose.logs import Entry, failures

AFTERWARDS_SECONDS = 5.0
"""What a fault breaks may be told a little later."""


@dataclass(frozen=True)
class Deed:
    """One fault, as it was done.

    Attributes:
        name: Of `FAULTS`.
        round: That was open.
        begun: Seconds since 1970.
        ended: When what was done was done, and undone.
    """

    name: str
    round: int
    begun: float
    ended: float

    def meanwhile(self, told: Sequence[Entry]) -> list[Entry]:
        """The lines of a log that were written while it was done."""
        return [one for one in told if self.begun <= one.at <= self.ended + AFTERWARDS_SECONDS]


def table(deeds: Sequence[Deed], *, silos: Sequence[Entry], replicas: Sequence[Entry]) -> str:
    """Markdown: what each fault met.

    Args:
        deeds: In their order.
        silos: The logs of all silos.
        replicas: The logs of all replicas that are still there.
    """
    rows = [_row(deed, silos=deed.meanwhile(silos), replicas=deed.meanwhile(replicas)) for deed in deeds]
    head = "| fault | in round | seconds | deltas counted | uploads cut off, then gone on with | uploads failed |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _row(deed: Deed, *, silos: Sequence[Entry], replicas: Sequence[Entry]) -> str:
    seconds = f"{deed.ended - deed.begun:.0f}"
    counts = (_count(silos, Event.DELTA_COUNTED), _count(replicas, Event.UPLOAD_BROKEN), len(failures(silos)))
    return f"| {' | '.join(map(str, (deed.name, deed.round, seconds, *counts)))} |"


def _count(told: Sequence[Entry], event: Event) -> int:
    return sum(one.event == event for one in told)
