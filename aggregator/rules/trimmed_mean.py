"""The coordinate-wise trimmed mean of the deltas."""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from pydantic import Field

from aggregator.blocks import CombinedBlock, RosterBlocks, Rule
from aggregator.options import Options
from aggregator.rules.order import sort_across_silos
from isthmus.codec import F32


class TrimmedMeanOptions(Options):
    """How much is trimmed."""

    trim_fraction: float = Field(default=0.2, ge=0.0, lt=0.5)
    """Share of the silos dropped at each end of every coordinate; 0 drops none: the mean with equal weights."""

    @property
    def exact_fraction(self) -> Fraction:
        """The decimal that the operator wrote: the float nearest to 0.29 would trim 28 of 100 silos, not 29."""
        return Fraction(str(self.trim_fraction))


def build(options: TrimmedMeanOptions) -> Rule:
    """The rule with this trim fraction."""

    def trimmed_mean(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        """The mean of each coordinate without its smallest and largest trim_fraction x num_silos values, rounded down.

        One pass. Float32, added in ascending order. Since trim_fraction is below a half, something always remains.
        num_examples is ignored: the paper's guarantee is for equal weights, and a claimed weight would be a way
        around the rule.

        Source:
            Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
            Definition 2 (coordinate-wise trimmed mean). Deviation: it is applied to deltas, not to gradients.
        """
        num_trimmed = math.floor(options.exact_fraction * roster.num_silos)
        for block in roster:
            sort_across_silos(block.values)
            kept = block.values[num_trimmed : roster.num_silos - num_trimmed]
            yield CombinedBlock(block.tensor, block.start, _mean(kept))

    return trimmed_mean


def least_silos(options: TrimmedMeanOptions) -> int:
    """As many as it takes to trim one at each end; one, where the operator chose to trim none."""
    return math.ceil(1 / options.exact_fraction) if options.trim_fraction else 1


def _mean(kept: F32) -> F32:
    """In place: the first row becomes the mean. Row by row, since a reduction may add in another order."""
    total: F32 = kept[0]
    for row in kept[1:]:
        total += row
    total /= np.float32(len(kept))
    return total
