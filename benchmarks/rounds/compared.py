"""Sweeps beside each other: medians, spreads, ratios to ours, and which bars hold. Decides, touches nothing."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.rounds.limits import Limits
from benchmarks.rounds.measured import Measured

OURS = "ours"
BAR_SILOS = 8
"""The number of silos that the bars are about."""


@dataclass(slots=True)
class Sweep:
    """Everything measured once, one after the other."""

    systems: list[Measured] = field(default_factory=list)
    limits: list[Limits] = field(default_factory=list)

    def of(self, system: str, silos: int) -> Measured | None:
        """What was measured, if it came to its end."""
        found = [one for one in self.systems if (one.system, one.silos, one.problem) == (system, silos, "")]
        return found[-1] if found else None

    def limit(self, silos: int) -> Limits | None:
        """The machine's own, if measured."""
        found = [one for one in self.limits if one.silos == silos]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and largest of several numbers; NaN where there are none."""

    median: float
    least: float
    largest: float

    def __bool__(self) -> bool:
        return not math.isnan(self.median)


def spread(values: Sequence[float]) -> Spread:
    """Of those that are numbers."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(statistics.median(known), min(known), max(known))


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise about ours: what, its measured value, and the limit; `at_least` says on which side it must be."""

    what: str
    measured: Spread
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the median is on the right side."""
        return self.measured.median >= self.limit if self.at_least else self.measured.median <= self.limit


def of_all(sweeps: Sequence[Sweep], system: str, silos: int) -> list[Measured]:
    """One system's measurements, sweep by sweep."""
    return [one for sweep in sweeps if (one := sweep.of(system, silos))]


def walls(sweeps: Sequence[Sweep], system: str, silos: int) -> Spread:
    """Over every counted round of every sweep."""
    return spread([value for one in of_all(sweeps, system, silos) for value in one.wall_seconds])


def ratios(
    sweeps: Sequence[Sweep], system: str, silos: int, *, of: Callable[[Measured], float], to: str = OURS
) -> Spread:
    """A number of one system over that of another, each of the same sweep."""
    pairs = [(sweep.of(system, silos), sweep.of(to, silos)) for sweep in sweeps]
    return spread([of(one) / of(other) for one, other in pairs if one and other and of(other)])


def over_limits(sweeps: Sequence[Sweep], silos: int) -> Spread:
    """Seconds of our round over the sum of the machine's own limits, each of the same sweep."""
    pairs = [(sweep.of(OURS, silos), sweep.limit(silos)) for sweep in sweeps]
    return spread([one.wall / limit.total for one, limit in pairs if one and limit])


def bars(sweeps: Sequence[Sweep]) -> list[Bar]:
    """Those that these sweeps say something about."""
    return [bar for bar in _bars(sweeps) if bar.measured]


def _bars(sweeps: Sequence[Sweep]) -> Iterator[Bar]:
    n = BAR_SILOS

    def wall(one: Measured) -> float:
        return one.wall

    yield Bar(f"times faster than Flower, N = {n}", ratios(sweeps, "flower", n, of=wall), 15.0, at_least=True)
    yield Bar(f"times faster than NVFlare, N = {n}", ratios(sweeps, "nvflare", n, of=wall), 5.0, at_least=True)
    share = ratios(sweeps, OURS, n, of=lambda one: one.server_cpu_seconds, to="flower")
    yield Bar(f"server CPU as a share of Flower's, N = {n}", share, 1 / 6)
    yield Bar(f"seconds over the machine's limits, N = {n}", over_limits(sweeps, n), 2.0)
    for silos in sorted({one.silos for sweep in sweeps for one in sweep.systems}):
        above = spread([one.above_idle_mib for one in of_all(sweeps, OURS, silos)])
        yield Bar(f"server's peak above idle, MiB, N = {silos}", above, 256.0)
    of_ours = of_all(sweeps, OURS, n)
    initial, first = ([one.initial_seconds for one in of_ours], [one.first_seconds for one in of_ours])
    yield Bar(f"projector 0 can be pulled, s after the start, N = {n}", spread(initial), 5.0)
    yield Bar(f"first round, s after the start, N = {n}", spread(first), 5.0)
