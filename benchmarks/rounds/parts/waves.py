"""Many silos that pull or push at the same moment at one real aggregator, and what that took."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds import ours
from benchmarks.rounds.meter import SERVER, SILO
from benchmarks.rounds.stage import Stage, python, stage
from benchmarks.rounds.work import Work
from isthmus import SiloClient

_PROCESSES = 4
"""Silos share so many processes at most: each holds a torch."""

_NEVER = 10_000
"""Contributions that a round waits for where none is to be cut."""


@dataclass(frozen=True, slots=True)
class Wave:
    """What a wave took.

    Attributes:
        silos: How many.
        bytes: Of all their transfers.
        seconds: From the first one's beginning to the last one's end.
        above_idle_mib: The server's peak beyond its idle memory.
        server_cpu_seconds: Of the wave.
        close_seconds: From the last receipt to the published projector; 0.0: the round was not to be cut.
    """

    silos: int
    bytes: int
    seconds: float
    above_idle_mib: float
    server_cpu_seconds: float
    close_seconds: float = 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Of all silos together."""
        return self.bytes / 1e6 / self.seconds


@dataclass(frozen=True, slots=True)
class Calls:
    """Times of GetRound over one open connection, in milliseconds."""

    p50: float
    p99: float


@contextmanager
def crowd(work: Work, action: str, *, rule: str = "") -> Iterator[tuple[Stage, str, Callable[[], None]]]:
    """A real aggregator, and its silos ready to act: the stage, the address, and what lets them go.

    Args:
        work: How many silos with how large a projector.
        action: "pull" or "push".
        rule: The round is cut when all have pushed, and combined by this rule; "": it is not cut.
    """
    with stage(work, scene=f"{action}-{work.silos}") as place:
        address = ours.serve(place)
        extra = f'strategy.rule = {{ name = "{rule}" }}\n' if rule else ""
        toml = ours.definition(work, quorum=0 if rule else _NEVER, extra=extra)
        files = list(ours.found(place, address, toml).values())
        go = place.folder / "go"
        for first in range(min(_PROCESSES, len(files))):
            command: list[str | Path] = [*python("benchmarks.rounds.parts.crowd"), action, address, ours.FEDERATION, go]
            place.start(SILO, [*command, *files[first::_PROCESSES]])
        place.wait(lambda: len(place.marks("ready")) == len(files), what="all silos ready", seconds=300.0)
        yield place, address, go.touch


def wave(work: Work, action: str, *, rule: str = "") -> Wave:
    """All silos at once, until the last one is done and, with a rule, the projector is published."""
    with crowd(work, action, rule=rule) as (place, _, let_go):
        before = place.meter.look()
        let_go()
        place.wait_for_silos(seconds=900.0)
        manifest = place.folder / "store" / "federations" / ours.FEDERATION / "projectors" / "1.json"
        if rule:
            place.wait(manifest.exists, what="projector 1", seconds=300.0)
        return _wave(place, manifest=manifest if rule else None, cpu_before=before.cpu_seconds[SERVER])


def beside_uploads(work: Work) -> tuple[Calls, Calls]:
    """Unary calls alone, and while every silo uploads."""
    with crowd(work, "push") as (place, address, let_go):
        credentials = place.folder / "silo-00.pem"
        with SiloClient(address, federation=ours.FEDERATION, credentials=credentials) as hub:
            alone = _calls(hub, until=_seconds_from_now(3.0))
            let_go()
            beside = _calls(hub, until=lambda: len(place.marks("ended")) > 0)
        return alone, beside


def _wave(place: Stage, *, manifest: Path | None, cpu_before: float) -> Wave:
    samples = [*place.meter.samples, place.meter.look()]
    begin, end = min(one.at for one in place.marks("began")), max(one.at for one in place.marks("ended"))
    work = place.work
    return Wave(
        work.silos,
        work.silos * work.payload_bytes,
        seconds=end - begin,
        above_idle_mib=max(one.mib.get(SERVER, 0.0) for one in samples) - place.idle_mib,
        server_cpu_seconds=samples[-1].cpu_seconds[SERVER] - cpu_before,
        close_seconds=max(manifest.stat().st_ctime - end, 0.0) if manifest else 0.0,
    )


def _calls(hub: SiloClient, *, until: Callable[[], bool]) -> Calls:
    taken: list[float] = []
    while not until() or len(taken) < 2:
        begin = time.perf_counter()
        hub.round()
        taken.append(1000 * (time.perf_counter() - begin))
    return Calls(statistics.median(taken), statistics.quantiles(taken, n=100, method="inclusive")[98])


def _seconds_from_now(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
