"""One measurement's numbers: from marks and samples to seconds, CPU seconds, MiB and bytes. Touches nothing."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.rounds.marks import Mark
from benchmarks.rounds.meter import SERVER, SILO, Sample
from benchmarks.rounds.work import Work


@dataclass(frozen=True, slots=True)
class Measured:
    """What one system took for the work.

    Attributes:
        system: Its name.
        silos: How many.
        payload_bytes: Of one projector.
        mtls: Whether everything went over mutual TLS.
        problem: Why there are no numbers; "": there are.
        wall_seconds: Of each counted round: from one projector's publication to the next one's.
        silos_wall_seconds: The same as the last silo sees it: from its learning of a round to that of the next. Only
            where silos tell.
        initial_seconds: From the server's start to projector 0, which silos can pull from then on. Ours alone has one.
        first_seconds: From the server's start to the first projector made of deltas.
        server_cpu_seconds: Of all the server's processes, per counted round.
        silos_cpu_seconds: Of all silos together, per counted round.
        idle_mib: The server's memory before it had anything to do.
        peak_mib: The most that the server's processes held together, at any time.
        silo_peak_mib: The most that all silos held together, by their number.
        loopback_bytes: Per counted round, TCP/IP headers included.
        run_bytes: Over loopback in the whole run, the first round and everything before it included.
        load_average: Of the machine, at the end.
    """

    system: str
    silos: int
    payload_bytes: int
    mtls: bool
    problem: str = ""
    wall_seconds: list[float] = field(default_factory=list)
    silos_wall_seconds: list[float] = field(default_factory=list)
    initial_seconds: float = math.nan
    first_seconds: float = math.nan
    server_cpu_seconds: float = math.nan
    silos_cpu_seconds: float = math.nan
    idle_mib: float = math.nan
    peak_mib: float = math.nan
    silo_peak_mib: float = math.nan
    loopback_bytes: float = math.nan
    run_bytes: int = 0
    load_average: float = math.nan

    @property
    def wall(self) -> float:
        """The median round's seconds."""
        return statistics.median(self.wall_seconds) if self.wall_seconds else math.nan

    @property
    def above_idle_mib(self) -> float:
        """What the server's peak has beyond its idle memory."""
        return self.peak_mib - self.idle_mib


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of a run that came to its end.

    Attributes:
        published: When each projector was: number 0 where a system publishes one, and those made of deltas.
        opened: When each silo learned of each round; may be empty.
        samples: Of all its processes.
        started_at: When the server was started.
        idle_mib, load_average: As in `Measured`.
    """

    published: Sequence[Mark]
    opened: Sequence[Mark]
    samples: Sequence[Sample]
    started_at: float
    idle_mib: float
    load_average: float


def measured(system: str, work: Work, run: Run) -> Measured:
    """The numbers of a run."""
    samples = run.samples
    at = {one.round: one.at for one in run.published}
    first, last = at[1], at[work.last_round]

    def per_round(series: Sequence[float]) -> float:
        return (value_at(samples, series, at=last) - value_at(samples, series, at=first)) / work.rounds

    return Measured(
        system,
        work.silos,
        work.payload_bytes,
        work.mtls,
        wall_seconds=[at[number] - at[number - 1] for number in range(2, work.last_round + 1)],
        silos_wall_seconds=seen_by_the_last(run.opened, work),
        initial_seconds=at.get(0, math.nan) - run.started_at,
        first_seconds=first - run.started_at,
        server_cpu_seconds=per_round([one.cpu_seconds.get(SERVER, 0.0) for one in samples]),
        silos_cpu_seconds=per_round([one.cpu_seconds.get(SILO, 0.0) for one in samples]),
        idle_mib=run.idle_mib,
        peak_mib=max(one.mib.get(SERVER, 0.0) for one in samples),
        silo_peak_mib=max(one.mib.get(SILO, 0.0) for one in samples) / work.silos,
        loopback_bytes=per_round([float(one.loopback_bytes) for one in samples]),
        run_bytes=samples[-1].loopback_bytes - samples[0].loopback_bytes,
        load_average=run.load_average,
    )


def value_at(samples: Sequence[Sample], series: Sequence[float], *, at: float) -> float:
    """A growing series' value at an instant, on the straight line between the looks before and after it."""
    for (early, before), (late, after) in itertools.pairwise(zip(samples, series, strict=True)):
        if early.at <= at <= late.at and late.at > early.at:
            return before + (after - before) * (at - early.at) / (late.at - early.at)
    return series[-1] if samples and at > samples[-1].at else series[0]


def seen_by_the_last(opened: Sequence[Mark], work: Work) -> list[float]:
    """Seconds from when the last silo knew of each counted round to when the last one knew of the next."""
    latest: dict[int, float] = {}
    for one in opened:
        latest[one.round] = max(latest.get(one.round, 0.0), one.at)
    numbers = range(2, work.last_round + 1)
    return [latest[number + 1] - latest[number] for number in numbers if {number, number + 1} <= set(latest)]
