"""How far each silo is believed in each direction of the basis.

Everything follows from the products of coefficients: products[i, k, l] = e_ki . e_li, where e_ki is row i of
U^T delta_k, silo k's coefficients of direction i. Float64.
"""

from collections.abc import Callable

import numpy as np

from aggregator.blocks import F64

_FLOOR = 1e-3
"""Of the measure "cosine": a silo that disagrees is hardly believed, and a direction where all do is still a mean."""

_ROUNDS = 16
"""Of Weiszfeld's algorithm: more change the weights by less than silos differ."""

_SMOOTHING = 1e-6
"""Least distance that Weiszfeld's algorithm divides by, as a share of the mean distance."""


def mean_consensus(_products: F64, shares: F64) -> F64:
    """The mean by num_examples: float64 [directions, silos], each silo's part in each direction's consensus."""
    return np.ones((len(_products), 1)) * shares


def geometric_median(products: F64, shares: F64) -> F64:
    """The point of least summed distance, weighted by num_examples: a minority cannot move it far.

    Source:
        Weiszfeld's algorithm, smoothed, as in Pillutla et al., Robust Aggregation for Federated Learning, IEEE TSP
        2022, Algorithm 2. Deviation: for each direction of the basis by itself.
    """
    parts = mean_consensus(products, shares)
    for _ in range(_ROUNDS):
        distances = np.sqrt(squared_deviations(products, parts))
        least = _SMOOTHING * distances.mean(axis=1, keepdims=True)
        weights = shares / np.where(least > 0.0, np.maximum(distances, least), 1.0)
        parts = weights / weights.sum(axis=1, keepdims=True)
    return parts


def squared_deviations(products: F64, parts: F64) -> F64:
    """|e_ki - consensus_i|^2, float64 [directions, silos], at least 0."""
    along = _along(products, parts)
    squares: F64 = np.einsum("ikk->ik", products) - 2.0 * along + (parts * along).sum(axis=1, keepdims=True)
    return np.maximum(squares, 0.0)


def cosines(products: F64, parts: F64) -> F64:
    """The cosine of e_ki and the consensus of direction i, float64 [directions, silos]; 0 where one of them is zero."""
    along = _along(products, parts)
    lengths = np.sqrt(np.einsum("ikk->ik", products) * np.maximum((parts * along).sum(axis=1, keepdims=True), 0.0))
    found: F64 = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0.0)
    return found


def _along(products: F64, parts: F64) -> F64:
    """e_ki . consensus_i, float64 [directions, silos]."""
    found: F64 = np.einsum("ikl,il->ik", products, parts)
    return found


def uniform(products: F64, _parts: F64, _temperature: float) -> F64:
    """Everybody alike."""
    return np.ones(products.shape[:2])


def by_cosine(products: F64, parts: F64, _temperature: float) -> F64:
    """The cosine with the consensus, at least `_FLOOR`."""
    return np.maximum(cosines(products, parts), _FLOOR)


def by_softmax(products: F64, parts: F64, temperature: float) -> F64:
    """exp(cosine / temperature), over the largest: the lower the temperature, the more the best silo decides alone."""
    scaled = cosines(products, parts) / temperature
    found: F64 = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return found


def by_deviation(products: F64, parts: F64, _temperature: float) -> F64:
    """Gives m / (d^2 + m), with d the distance to the consensus and m the mean of all silos' d^2."""
    squares = squared_deviations(products, parts)
    mean = squares.mean(axis=1, keepdims=True)
    found: F64 = np.divide(mean, squares + mean, out=np.ones_like(squares), where=mean > 0.0)
    return found


CONSENSUS: dict[str, Callable[[F64, F64], F64]] = {"mean": mean_consensus, "geometric_median": geometric_median}
"""What silos are compared with: (products, shares by num_examples) to each silo's part in it."""

MEASURES: dict[str, Callable[[F64, F64, float], F64]] = {
    "uniform": uniform,
    "cosine": by_cosine,
    "softmax": by_softmax,
    "inverse_deviation": by_deviation,
}
"""How reliability is measured: (products, consensus, temperature) to float64 [directions, silos], at least 0."""


def reliable_shares(products: F64, shares: F64, *, measure: str, consensus: str, temperature: float) -> F64:
    """r_ki = n_k a_ki / sum over l of n_l a_li: float64 [directions, silos], each row summing to 1.

    Args:
        products: See above, [directions, silos, silos].
        shares: n_k / n, float64 [silos].
        measure: A name of MEASURES, which gives a_ki.
        consensus: A name of CONSENSUS.
        temperature: Of the measure "softmax", above 0.
    """
    believed = MEASURES[measure](products, CONSENSUS[consensus](products, shares), temperature) * shares
    fused: F64 = believed / believed.sum(axis=1, keepdims=True)
    return fused
