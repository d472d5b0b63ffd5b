"""A cap on a silo's share of the weight: num_examples is a claim, and a rule may believe it only so far."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from pydantic import Field

from aggregator.blocks import PreStep, RosterBlocks
from aggregator.options import Options, decimal


class WeightCapOptions(Options):
    """How large a share may be."""

    max_share: float = Field(default=0.2, gt=0.0, le=1.0)
    """Largest share of a roster's weight that one delta may have, after the cap."""


def build(options: WeightCapOptions) -> PreStep:
    """The step with this share."""

    def weight_cap(roster: RosterBlocks) -> RosterBlocks:
        """num_examples above a cap become the cap, the largest one with which no share is above max_share.

        The deltas are not looked at. A roster of so few deltas that some share must be larger weighs all alike. It
        acts on rules that weigh by num_examples (the mean); the robust ones ignore it anyway.

        Source: none; it is the cap c that solves c = max_share x sum over k of min(n_k, c).
        """
        cap = _cap(roster.num_examples, decimal(options.max_share))
        return replace(roster, num_examples=tuple(min(claimed, cap) for claimed in roster.num_examples))

    return weight_cap


def _cap(num_examples: Sequence[float], share: Fraction) -> float:
    """The cap: from the largest down, until the next is within the share that is left for it. Rounded once."""
    ordered = sorted(map(Fraction, num_examples), reverse=True)
    rest = sum(ordered, Fraction())
    for num_capped, largest in enumerate(ordered):
        room = 1 - num_capped * share
        if largest * room <= share * rest:  # nobody from here on needs a cap
            return float(share * rest / room)
        rest -= largest
        if room <= share:
            break
    return float(ordered[-1])


def least_silos(options: WeightCapOptions) -> int:
    """As many as it takes for each to have no more than the share."""
    return math.ceil(1 / decimal(options.max_share))
