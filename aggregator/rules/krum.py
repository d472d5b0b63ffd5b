"""Krum and Multi-Krum: the deltas that lie nearest to their nearest neighbours."""

import math
from collections.abc import Iterator

from aggregator.blocks import CombinedBlock, RosterBlocks, Rule
from aggregator.gram import gram, squared_distances
from aggregator.options import HostileOptions
from aggregator.rules.weighted import weighted_sum


class KrumOptions(HostileOptions):
    """How many hostile silos are assumed."""


def build_krum(options: KrumOptions) -> Rule:
    """Krum with this fraction."""

    def krum(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        """The delta of the least score s(i), the sum of its squared distances to the n - f - 2 deltas nearest to it.

        Two passes: the Gram matrix, then the chosen delta, bit for bit. f is hostile_fraction x n rounded down. Of
        equal scores the one earlier in the roster is chosen. In rosters below `least_silos` at least one neighbour
        counts. num_examples is ignored: the paper's guarantee is for equal weights, and a claimed weight would be a
        way around the rule.

        Source:
            Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017,
            section 4. Deviation: it is applied to deltas, not to gradients.
        """
        ranks = ranked(roster, options.most_hostile(roster.num_silos))
        return _chosen(roster, ranks[0])

    return krum


def build_multi_krum(options: KrumOptions) -> Rule:
    """Multi-Krum with this fraction."""

    def multi_krum(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        """The mean, equal weights, of the m = n - f deltas of the least scores; scores, ties and f as in `krum`.

        Two passes: the Gram matrix, then the mean in roster order.

        Source:
            Blanchard et al., as above, section 4, "Multi-Krum", with m = n - f. Deviation: deltas, not gradients.
        """
        num_hostile = options.most_hostile(roster.num_silos)
        kept = ranked(roster, num_hostile)[: roster.num_silos - num_hostile]
        return weighted_sum(roster, [(row in kept) / len(kept) for row in range(roster.num_silos)])

    return multi_krum


def ranked(roster: RosterBlocks, num_hostile: int) -> list[int]:
    """The rows from the least Krum score to the largest; of equal scores the earlier in the roster first."""
    num_neighbours = max(roster.num_silos - num_hostile - 2, 1)
    distances = squared_distances(gram(roster)).tolist()
    scores = [
        math.fsum(sorted(row[:own] + row[own + 1 :])[:num_neighbours]) for own, row in enumerate(distances)
    ]  # rounded once: the same whatever the order of the roster
    return sorted(range(roster.num_silos), key=scores.__getitem__)


def least_silos(options: KrumOptions) -> int:
    """From there on every roster has n >= 2 f + 3, as the paper asks for, and f >= 1 where any is assumed hostile."""
    fraction = options.exact_fraction
    return max(math.ceil(3 / (1 - 2 * fraction)), math.ceil(1 / fraction) if fraction else 1)


def _chosen(roster: RosterBlocks, row: int) -> Iterator[CombinedBlock]:
    for block in roster:
        yield CombinedBlock(block.tensor, block.start, block.values[row])
