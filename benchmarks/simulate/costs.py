"""Which costs are modelled, and what the model says: of the largest measured run, checked, and of more silos. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.simulate.measured import Row
from benchmarks.simulate.model import Model, Points, fit

FAR = 10_000
"""Silos that are modelled, not run: the most that a federation's policy can name."""

WAITING_POLLS = 4096
"""GetRound calls that one replica may let wait, at most."""

COSTS: dict[str, Callable[[Row], float]] = {
    "enrolment of all, CPU s": lambda row: row.enrol_cpu,
    "pull of all, CPU s": lambda row: row.pull_cpu,
    "push of all, cut, publication, CPU s": lambda row: row.push_cpu,
    "notice of the next round, CPU s": lambda row: row.notice_cpu,
    "cut and publication, s": lambda row: row.cut_seconds + row.publish_seconds,
    "calls in a round": lambda row: row.calls[0],
    "reads in a round": lambda row: row.verbs.get("get", 0.0),
    "writes in a round": lambda row: row.writes,
    "listings in a round": lambda row: row.verbs.get("list", 0.0),
    "keys listed in a round": lambda row: row.verbs.get("listed", 0.0),
    "keys listed by all enrolments": lambda row: float(row.enrol_verbs.get("listed", 0)),
    "objects left by a round": lambda row: row.objects[0],
    "replica's peak, MiB": lambda row: row.peak_mib,
    "replica's descriptors": lambda row: float(row.descriptors),
    "replica's threads": lambda row: float(row.threads),
    "operator's status, s": lambda row: row.status_seconds,
    "status, bytes": lambda row: float(row.status_bytes),
    "roster, bytes": lambda row: float(row.roster_bytes),
    "manifest, bytes": lambda row: float(row.manifest_bytes),
}
"""Every cost, by what the report calls it."""

PHASES = (
    "pull of all, CPU s",
    "push of all, cut, publication, CPU s",
    "notice of the next round, CPU s",
)
"""What makes up a round."""

LIMITING = (
    "enrolment of all, CPU s",
    *PHASES,
    "cut and publication, s",
    "keys listed in a round",
    "writes in a round",
    "replica's peak, MiB",
    "operator's status, s",
    "status, bytes",
)
"""What may become too much first."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One cost, modelled.

    Attributes:
        name: Of `COSTS`.
        points: What was measured.
        model: Fitted to all of them.
        straight: The same without a square.
        foretold: What the model of all but the largest says of the largest; None: there are too few.
    """

    name: str
    points: Points
    model: Model
    straight: Model
    foretold: float | None

    @property
    def error(self) -> float | None:
        """How far that is off, as a share of what was measured."""
        return None if self.foretold is None else self.foretold / self.points[-1][1] - 1.0

    @property
    def worst(self) -> float:
        """The largest residual, as a share of what was measured."""
        return max(self.model.residuals(self.points), key=abs)


def costs(rows: Sequence[Row]) -> dict[str, Cost]:
    """Every cost, from runs that differ by the number of silos alone: at least two."""
    ranked = sorted(rows, key=lambda row: row.silos)
    return {name: _cost(name, [(row.silos, of(row)) for row in ranked]) for name, of in COSTS.items()}


def bottleneck(found: dict[str, Cost], silos: int = FAR) -> str:
    """The phase that takes most of a round's CPU at so many silos."""
    return max(PHASES, key=lambda name: found[name].model.at(silos))


def round_cpu(found: dict[str, Cost], silos: int = FAR) -> tuple[float, float]:
    """CPU seconds of a round at so many silos: straight, and with the squares that fit."""
    return (
        sum(found[name].straight.at(silos) for name in PHASES),
        sum(found[name].model.at(silos) for name in PHASES),
    )


def _cost(name: str, points: Points) -> Cost:
    foretold = fit(points[:-1]).at(points[-1][0]) if len(points) > 2 and points[-1][1] else None
    return Cost(name, points, fit(points), fit(points, powers=2), foretold)
