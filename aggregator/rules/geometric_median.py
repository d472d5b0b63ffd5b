"""The geometric median of the deltas, by smoothed Weiszfeld steps on their inner products."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from aggregator.blocks import F64, CombinedBlock, RosterBlocks, Rule
from aggregator.gram import gram, squared_distances
from aggregator.options import Options
from aggregator.rules.weighted import normalised, weighted_sum


class GeometricMedianOptions(Options):
    """How closely it is approached."""

    iterations: int = Field(default=32, ge=1, le=1000)
    """Weiszfeld steps. They cost nothing beside the passes: each works on num_silos numbers."""
    smoothing: float = Field(default=1e-6, gt=0.0, le=1.0)
    """Distances below this share of the median norm count as it, so that no delta draws all weight to itself."""


def build(options: GeometricMedianOptions) -> Rule:
    """The rule with these options."""

    def geometric_median(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        """The point z of the least sum over k of |z - delta k|, approached by z <- sum of b_k delta k / sum of b_k.

        b_k = 1 / max(nu, |z - delta k|), from z = 0, the projector as it is. Two passes: the Gram matrix, in whose
        terms all steps are done (`weights`), then the weighted sum.

        Source:
            Pillutla et al., Robust Aggregation for Federated Learning, IEEE TSP 2022 (arXiv 1912.13445), Algorithm 2
            (smoothed Weiszfeld). Deviations: equal weights in place of the silos' sample counts, since a claimed
            weight would be a way around the rule; nu is relative to the deltas, so that the rule scales with them; a
            fixed number of steps in place of a stopping criterion.
        """
        products = gram(roster)
        return weighted_sum(roster, weights(products, iterations=options.iterations, smoothing=options.smoothing))

    return geometric_median


def least_silos(_options: GeometricMedianOptions) -> int:
    """Three: of two deltas every point between them is a geometric median, and one silo chooses it."""
    return 3


def weights(products: F64, *, iterations: int, smoothing: float) -> list[float]:
    """The shares, summing to 1, with which the deltas make up the geometric median.

    Args:
        products: Inner products of the deltas, float64 [num_silos, num_silos].
        iterations: Weiszfeld steps, at least 1.
        smoothing: See `GeometricMedianOptions`.
    """
    distances = np.sqrt(np.maximum(np.diagonal(products), 0.0)).tolist()  # from zero, where the first step begins
    lengths = sorted(distances)
    if not lengths[-1]:
        return [1.0 / len(lengths)] * len(lengths)
    typical = lengths[(len(lengths) - 1) // 2] or next(length for length in lengths if length)
    floor, squares = smoothing * typical, squared_distances(products)
    for _ in range(iterations):
        shares = normalised([1.0 / max(floor, distance) for distance in distances])
        distances = distances_from(squares, shares)
    return shares


def distances_from(squares: F64, shares: Sequence[float]) -> list[float]:
    """The distance of each delta from the point that these shares make.

    With c the shares and D the squared distances, that of delta k is the root of (D c)_k - c^T D c / 2, where D c is
    summed in roster order.
    """
    sums = np.zeros(len(squares))
    for column, share in zip(squares.T, shares, strict=True):
        sums += column * share
    half = math.fsum((sums * np.array(shares)).tolist()) / 2.0
    return [math.sqrt(max(square - half, 0.0)) for square in sums.tolist()]
