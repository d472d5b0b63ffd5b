"""The pass with which every rule ends that decided by weights: the weighted sum of the deltas."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from aggregator.blocks import CombinedBlock, RosterBlocks
from isthmus.codec import F32


def weighted_sum(roster: RosterBlocks, shares: Sequence[float]) -> Iterator[CombinedBlock]:
    """The sum over k of share k times delta k.

    One pass. Each share is rounded from float64 to float32 once; products and sums are float32, in roster order. A
    delta of share zero is left out.

    Args:
        roster: The deltas.
        shares: Of each, at least 0, summing to 1.
    """
    counted = [(row, np.float32(share)) for row, share in enumerate(shares) if share]
    for block in roster:
        yield CombinedBlock(block.tensor, block.start, _sum(block.values, counted))


def normalised(weights: Sequence[float]) -> list[float]:
    """These weights as shares that sum to 1. Their sum is rounded once, whatever their order."""
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _sum(values: F32, counted: list[tuple[int, np.float32]]) -> F32:
    """In place: the first row becomes the sum. Row by row, since a reduction may add in another order."""
    (first, share), *others = counted
    combined: F32 = values[first]
    combined *= share
    for row, share in others:
        values[row] *= share
        combined += values[row]
    return combined
