"""How long containers take from their start until the engine calls them healthy: its events, as they come.

Its inspections are no source: they remember the last five checks.
"""

import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.compose.engine import ROOT, Composition

STARTED, HEALTHY = "start", "health_status: healthy"

TOLD = '{{.TimeNano}} {{.Actor.ID}} {{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}'
"""What is asked of each event."""


@dataclass(frozen=True)
class Happening:
    """One event of the engine's.

    Attributes:
        at: Seconds since 1970.
        container: Its id.
        service: Of the composition.
        what: The engine's word for it.
    """

    at: float
    container: str
    service: str
    what: str


@contextmanager
def watched(composition: Composition) -> Iterator[list[Happening]]:
    """A list that grows by what happens to the composition's containers, until the context ends."""
    label = f"label=com.docker.compose.project={composition.project}"
    filters = ("--filter", label, "--filter", "event=start", "--filter", "event=health_status")
    process = subprocess.Popen(
        ["docker", "events", *filters, "--format", TOLD], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    found: list[Happening] = []
    assert process.stdout is not None
    reading = threading.Thread(target=lambda lines: found.extend(map(happening, lines)), args=(process.stdout,))
    reading.start()
    try:
        yield found
    finally:
        process.terminate()
        process.wait()
        reading.join()
        process.stdout.close()


def happening(line: str) -> Happening:
    """An event out of a line that was asked for with `TOLD`."""
    at, container, service, what = line.rstrip("\n").split(" ", 3)
    return Happening(int(at) / 1e9, container, service, what)


def seconds_to_health(happened: Sequence[Happening], service: str) -> list[float]:
    """For each container of a service that became healthy: seconds from its first start to the first time."""
    containers = dict.fromkeys(one.container for one in happened if one.service == service)
    pairs = [(first(happened, container, STARTED), first(happened, container, HEALTHY)) for container in containers]
    return [healthy - started for started, healthy in pairs if started is not None and healthy is not None]


def first(happened: Iterable[Happening], container: str, what: str) -> float | None:
    """When something happened to a container for the first time."""
    return next((one.at for one in happened if (one.container, one.what) == (container, what)), None)
