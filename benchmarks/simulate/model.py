"""What a cost is as a function of the number of silos: a + bN + cN^2, fitted to what was measured. Pure.

Least squares of relative errors, so that small numbers of silos count as much as large ones, and no coefficient below
zero: no silo gives time back. The terms are those that fit best; of about equally good ones, the fewest. Whether a
small square is there or only noise, four points cannot tell: what is said of far more silos has a straight line beside.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BETTER = 0.8
"""A further term must bring the residual to this share: with four points, three terms fit anything."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Model:
    """a + bN + cN^2."""

    constant: float
    linear: float
    quadratic: float

    def at(self, silos: float) -> float:
        """What it says of so many silos."""
        return self.constant + self.linear * silos + self.quadratic * silos**2

    def shares(self, silos: float) -> tuple[float, float, float]:
        """How much of that each term is."""
        whole = self.at(silos) or 1.0
        return self.constant / whole, self.linear * silos / whole, self.quadratic * silos**2 / whole

    def residuals(self, points: Points) -> list[float]:
        """How far it is off, as a share of what was measured."""
        return [self.at(silos) / value - 1.0 if value else 0.0 for silos, value in points]


def fit(points: Points, *, powers: int = 3) -> Model:
    """The model of these points (silos, value), at least two of them; of a straight line where `powers` is 2.

    Raises:
        ValueError: There are fewer.
    """
    if len(points) < 2:
        raise ValueError("a model needs two numbers of silos at least")
    usable = [(silos, value) for silos, value in points if value > 0]
    best, least = Model(0.0, 0.0, 0.0), float("inf")
    for size in range(1, min(powers, len(usable)) + 1):
        found = [_fitted(usable, terms) for terms in itertools.combinations(range(powers), size)]
        candidates = [(_error(model, usable), model) for model in found if model is not None]
        if candidates:
            error, model = min(candidates, key=lambda one: one[0])
            if error < _BETTER * least:
                best, least = model, error
    return best


def _fitted(points: Points, terms: Sequence[int]) -> Model | None:
    """The best model of these powers alone; None where it has a coefficient below zero."""
    silos, values = np.array([n for n, _ in points], dtype=float), np.array([v for _, v in points], dtype=float)
    matrix = np.stack([silos**power / values for power in terms], axis=1)
    scale = np.abs(matrix).max(axis=0)
    solved, *_ = np.linalg.lstsq(matrix / scale, np.ones(len(points)), rcond=None)
    coefficients = dict(zip(terms, solved / scale, strict=True))
    if min(coefficients.values()) < 0:
        return None
    return Model(*(float(coefficients.get(power, 0.0)) for power in range(3)))


def _error(model: Model, points: Points) -> float:
    return float(np.sqrt(np.mean(np.square(model.residuals(points)))))
