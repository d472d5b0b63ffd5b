"""The mean of the deltas, weighted by num_examples: what FedAvg combines with."""

from collections.abc import Iterator

from aggregator.blocks import CombinedBlock, RosterBlocks, Rule
from aggregator.options import NoOptions
from aggregator.rules.weighted import weighted_sum


def build(_options: NoOptions) -> Rule:
    """The rule; there is nothing to choose."""
    return mean


def least_silos(_options: NoOptions) -> int:
    """A mean promises no protection, so one delta is enough."""
    return 1


def mean(roster: RosterBlocks) -> Iterator[CombinedBlock]:
    """The sum over k of n_k / n times delta k, with n_k the num_examples of silo k and n their sum.

    One pass. A roster of one gives its delta bit for bit.

    Source:
        McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017,
        Algorithm 1, last line of the server. Deviation: it averages local weights; averaging deltas and adding the
        result to the global projector is the same with shares that sum to 1, and theirs do up to rounding.
    """
    total = sum(roster.num_examples)
    return weighted_sum(roster, [num_examples / total for num_examples in roster.num_examples])
