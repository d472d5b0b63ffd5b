"""The coordinate-wise median of the deltas."""

from collections.abc import Iterator

import numpy as np

from aggregator.blocks import CombinedBlock, RosterBlocks, Rule
from aggregator.options import NoOptions
from aggregator.rules.order import sort_across_silos
from isthmus.codec import F32


def build(_options: NoOptions) -> Rule:
    """The rule; there is nothing to choose."""
    return median


def least_silos(_options: NoOptions) -> int:
    """Three: the median of two is their mean, which one silo moves wherever it wants."""
    return 3


def median(roster: RosterBlocks) -> Iterator[CombinedBlock]:
    """The middle value of each coordinate; of an even number of silos, the mean of the two middle ones.

    One pass. num_examples is ignored: a claimed weight would be a way around the rule.

    Source:
        Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
        Definition 1 (coordinate-wise median). Deviation: it is applied to deltas, not to gradients.
    """
    for block in roster:
        sort_across_silos(block.values)
        yield CombinedBlock(block.tensor, block.start, _middle(block.values))


def _middle(ordered: F32) -> F32:
    """The mean of two is taken in float64, where their sum cannot overflow."""
    half = len(ordered) // 2
    upper: F32 = ordered[half]
    if len(ordered) % 2:
        return upper
    lower: F32 = ordered[half - 1]
    return ((lower.astype(np.float64) + upper) / 2.0).astype(np.float32)
