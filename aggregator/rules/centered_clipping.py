"""Centered clipping: the mean of the deltas, each pulled to within a radius of a centre that they cannot choose."""

from collections.abc import Iterator

from pydantic import Field

from aggregator.blocks import F64, CombinedBlock, RosterBlocks, Rule
from aggregator.gram import gram, squared_distances
from aggregator.options import Options
from aggregator.rules import geometric_median
from aggregator.rules.weighted import weighted_sum

_CENTRE = geometric_median.GeometricMedianOptions()


class CenteredClippingOptions(Options):
    """How far a delta may pull."""

    radius: float = Field(default=1.0, gt=0.0, le=1e6)
    """Farthest that a delta counts from the centre, in medians of the deltas' distances from the first centre."""
    iterations: int = Field(default=3, ge=1, le=1000)
    """Times that the centre moves. They cost nothing beside the passes."""


def build(options: CenteredClippingOptions) -> Rule:
    """The rule with these options."""

    def centered_clipping(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        """The centre v after some steps v <- v + 1/n sum over k of (delta k - v) min(1, tau / |delta k - v|).

        The first centre is the geometric median of the deltas, in their span and borne by the majority; tau is
        `radius` times the median of the distances from it, and stays. Two passes: the Gram matrix, in whose terms all
        steps are done, then the weighted sum. num_examples is ignored, as in the paper.

        Source:
            Karimireddy et al., Learning from History for Byzantine Robust Optimization, ICML 2021, Algorithm 2.
            Deviations: it starts from a robust point of this round's deltas, not from the last round's aggregate of
            the silos' momenta: a round is decided by its roster alone, and silos send deltas. tau follows the roster,
            so that the rule scales with the deltas and needs no guess.
        """
        return weighted_sum(roster, weights(gram(roster), radius=options.radius, iterations=options.iterations))

    return centered_clipping


def least_silos(_options: CenteredClippingOptions) -> int:
    """Three, as the first centre needs; the paper's bound is proven where fewer than a tenth of them are hostile."""
    return geometric_median.least_silos(_CENTRE)


def weights(products: F64, *, radius: float, iterations: int) -> list[float]:
    """The shares, summing to 1, with which the deltas make up the last centre.

    Args:
        products: Inner products of the deltas, float64 [num_silos, num_silos].
        radius: See `CenteredClippingOptions`.
        iterations: Steps, at least 1.
    """
    shares = geometric_median.weights(products, iterations=_CENTRE.iterations, smoothing=_CENTRE.smoothing)
    squares, num_silos = squared_distances(products), len(products)
    distances = geometric_median.distances_from(squares, shares)
    farthest = radius * sorted(distances)[(num_silos - 1) // 2]
    for _ in range(iterations):
        pulls = [farthest / distance if distance > farthest else 1.0 for distance in distances]
        kept = 1.0 - sum(pulls) / num_silos
        shares = [share * kept + pull / num_silos for share, pull in zip(shares, pulls, strict=True)]
        distances = geometric_median.distances_from(squares, shares)
    return shares
