"""What the silos' held-out losses say together: mean, quartiles, and whether the median silo got worse. Pure.

Sums go in the order given and quartiles over sorted values, so replicas give the same last digit.
"""

from collections.abc import Mapping, Sequence

from isthmus.evaluation import Report, Summary
from isthmus.federation import GatePolicy

MAX_CHANGE = 1e6
"""No larger change is told: of a loss of 0 every rise would be infinite."""


def summarized(reports: Sequence[Report], *, max_samples: int) -> Summary | None:
    """Mean and spread of the losses; None of no report.

    Args:
        reports: In roster order, one a silo.
        max_samples: No silo weighs more than so many samples in the mean. Quartiles count silos.
    """
    if not reports:
        return None
    weights = [min(one.num_samples, max_samples) for one in reports]
    total = sum(weights)
    losses = sorted(one.loss for one in reports)
    return Summary(
        mean=sum(weight / total * one.loss for weight, one in zip(weights, reports, strict=True)),
        q1=quantile(losses, 0.25),
        median=quantile(losses, 0.5),
        q3=quantile(losses, 0.75),
        num_silos=len(losses),
        num_samples=total,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, linear between the two that stand around it (Hyndman and Fan 1996, type 7, NumPy's default)."""
    position = share * (len(values) - 1)
    below = int(position)
    if below + 1 == len(values):
        return values[below]
    low, high = values[below], values[below + 1]
    return low + (position - below) * (high - low)


def changes(before: Mapping[str, Report], now: Mapping[str, Report]) -> list[float]:
    """The relative rise of the loss of every silo that reported both times, sorted; below 0 where it fell."""
    return sorted(_change(before[silo].loss, now[silo].loss) for silo in now if silo in before)


def _change(before: float, now: float) -> float:
    if before == 0.0:
        return MAX_CHANGE if now else 0.0
    return min(now / before - 1.0, MAX_CHANGE)


def median_change(risen: Sequence[float]) -> float | None:
    """The lower median of sorted changes: above x where more than half are; None of none."""
    return risen[(len(risen) - 1) // 2] if risen else None


def is_flagged(risen: Sequence[float], *, num_silos: int, gate: GatePolicy) -> bool:
    """Whether the gate flags a projector.

    More than half of the compared silos got worse by more than the tolerance; and those compared are at least
    `min_silos`, and more than half of the roster, so that a few who report cannot speak for many who do not.

    Args:
        risen: What `changes` gives.
        num_silos: Of the roster.
        gate: The federation's.
    """
    median = median_change(risen)
    if median is None or len(risen) < gate.min_silos or 2 * len(risen) <= num_silos:
        return False
    return median > gate.tolerance
