"""What the quality benchmark says of a few seeds is arithmetic that a person can check."""

import math
import statistics

import pytest

from benchmarks.quality.spread import difference, rounds_to, spread


def test_a_spread_is_mean_and_standard_deviation() -> None:
    """Over 1, 2, 3 the mean is 2 and the sample standard deviation 1; one value has none."""
    assert spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert spread([5.0]) == (5.0, 0.0)


def test_a_difference_is_paired_by_seed() -> None:
    """What a seed does to both cancels: a steady gain counts even where the seeds lie far apart."""
    apart = difference([0.9, 4.9, 9.91], [1.0, 5.0, 10.0])

    assert apart.is_better
    assert not apart.is_worse
    assert apart.half == pytest.approx(4.303 * statistics.stdev([-0.1, -0.1, -0.09]) / math.sqrt(3))


def test_a_gain_within_the_seeds_spread_is_none() -> None:
    """A mean gain that one of three seeds does not show is not told as one, and neither is one seed's."""
    assert not difference([0.7, 0.8, 1.1], [1.0, 1.0, 1.0]).is_better
    assert not difference([0.5], [1.0]).is_better


def test_rounds_to_a_target_count_from_the_first_round() -> None:
    """The loss before the first round is no round; a target never reached has none."""
    assert rounds_to([1.0, 3.0, 2.0, 1.0], 2.0) == 2
    assert rounds_to([3.0, 2.5], 2.0) is None
