"""Nearest-neighbour mixing: every delta becomes the mean of those nearest to it."""

import math

import numpy as np

from aggregator.blocks import F64, PreStep, RosterBlocks
from aggregator.gram import gram, squared_distances
from aggregator.mixing import averaged
from aggregator.options import HostileOptions


class NnmOptions(HostileOptions):
    """How many deltas are left out of each mean: as many as are assumed hostile."""


def build(options: NnmOptions) -> PreStep:
    """The step with this fraction."""

    def nnm(roster: RosterBlocks) -> RosterBlocks:
        """Delta i becomes the mean of the n - f deltas nearest to it, itself included; f = hostile_fraction x n.

        One pass for the products unless a step before has them. f is rounded down. Of deltas at the same distance
        the one earlier in the roster is nearer. num_examples is ignored, and every mixed delta weighs the same.

        Source:
            Allouah et al., Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity, AISTATS 2023,
            Algorithm 2. Deviation: it is applied to deltas, not to gradients.
        """
        distances = squared_distances(gram(roster))
        return averaged(roster, nearest(distances, roster.num_silos - options.most_hostile(roster.num_silos)))

    return nnm


def nearest(distances: F64, count: int) -> list[list[int]]:
    """For each delta the `count` nearest, itself included, ascending; of equals the earlier in the roster."""
    order = np.argsort(distances, axis=1, kind="stable")
    return [sorted(int(row) for row in rows[:count]) for rows in order]


def least_silos(options: NnmOptions) -> int:
    """As many as it takes to leave one out; one, where the operator assumes that none is hostile."""
    return math.ceil(1 / options.exact_fraction) if options.hostile_fraction else 1
