"""What a few seeds tell: means, spreads, and whether a difference is more than the seeds' own. Pure."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Two-sided 95 % quantiles of Student's t with 1, 2, ... degrees of freedom."""


class Spread(NamedTuple):
    """Mean and sample standard deviation (0 of one value)."""

    mean: float
    sd: float


class Difference(NamedTuple):
    """Of a method from another, seed by seed.

    Attributes:
        mean: Below 0: the method's loss is lower.
        half: Half the width of the 95 % confidence interval of the mean; infinite with one seed.
    """

    mean: float
    half: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.mean + self.half < 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.mean - self.half > 0


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


def difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Paired by seed: what a seed does to both cancels.

    Raises:
        ValueError: They are not as many, or more than T_95 has quantiles for.
    """
    apart = [one - other for one, other in zip(values, others, strict=True)]
    mean, sd = spread(apart)
    if len(apart) == 1:
        return Difference(mean, math.inf)
    if len(apart) > len(T_95) + 1:
        raise ValueError(f"{len(apart)} seeds are more than the table of quantiles holds ({len(T_95) + 1}).")
    return Difference(mean, T_95[len(apart) - 2] * sd / math.sqrt(len(apart)))


def rounds_to(losses: Sequence[float], target: float) -> int | None:
    """The first round after which the loss is at or below the target; None: never. `losses[0]` is before round 1."""
    return next((number for number, loss in enumerate(losses) if number and loss <= target), None)
