"""The preset for federations that may have hostile silos: nearest-neighbour mixing, then the trimmed mean."""

from collections.abc import Iterator

from aggregator.blocks import CombinedBlock, RosterBlocks, Rule
from aggregator.options import HostileOptions
from aggregator.pre_steps import nnm
from aggregator.rules import trimmed_mean


class RobustOptions(HostileOptions):
    """How many hostile silos are assumed: one number for both parts."""


def build(options: RobustOptions) -> Rule:
    """The rule with this fraction."""
    mix = nnm.build(nnm.NnmOptions(hostile_fraction=options.hostile_fraction))
    trim = trimmed_mean.build(trimmed_mean.TrimmedMeanOptions(trim_fraction=options.hostile_fraction))

    def robust(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        """The step `nnm` and the rule `trimmed_mean`, each with f = hostile_fraction x n rounded down.

        Two passes: the Gram matrix, then mixing and trimming. num_examples is ignored.

        Source:
            Allouah et al., Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity, AISTATS 2023,
            section 4: mixing makes the trimmed mean's error optimal in order, also where honest silos differ.
        """
        return trim(mix(roster))

    return robust


def least_silos(options: RobustOptions) -> int:
    """As many as it takes to leave one out of each mean and to trim one at each end."""
    return trimmed_mean.least_silos(trimmed_mean.TrimmedMeanOptions(trim_fraction=options.hostile_fraction))
