"""The mean of the deltas, weighted by num_examples: what FedAvg combines with."""

from collections.abc import Iterator

import numpy as np

from aggregator.blocks import CombinedBlock, RosterBlocks, Rule
from aggregator.options import NoOptions
from isthmus.codec import F32


def build(_options: NoOptions) -> Rule:
    """The rule; there is nothing to choose."""
    return mean


def least_silos(_options: NoOptions) -> int:
    """A mean promises no protection, so one delta is enough."""
    return 1


def mean(roster: RosterBlocks) -> Iterator[CombinedBlock]:
    """The sum over k of n_k / n times delta k, with n_k the num_examples of silo k and n their sum.

    One pass. Each share n_k / n is rounded from float64 to float32 once; products and sums are float32, in roster
    order. A roster of one gives its delta bit for bit.

    Source:
        McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017,
        Algorithm 1, last line of the server. Deviation: it averages local weights; averaging deltas and adding the
        result to the global projector is the same with shares that sum to 1, and theirs do up to rounding.
    """
    total = sum(roster.num_examples)
    shares = [np.float32(num_examples / total) for num_examples in roster.num_examples]
    for block in roster:
        yield CombinedBlock(block.tensor, block.start, _weighted_sum(block.values, shares))


def _weighted_sum(values: F32, shares: list[np.float32]) -> F32:
    """In place: the first row becomes the sum. Row by row, since a reduction may add in another order."""
    combined: F32 = values[0]
    combined *= shares[0]
    for row, share in zip(values[1:], shares[1:], strict=True):
        row *= share
        combined += row
    return combined
