"""How much further than their mean the silos' coefficients are followed, where the silos disagree.

Averaging shortens what silos learned apart: of K orthogonal steps of one length the mean is K^0.5 times shorter than
each. Everything follows from the products of coefficients, as reliability does. Float64.

Source:
    Jhunjhunwala, Wang and Joshi, FedExP: Speeding Up Federated Averaging via Extrapolation, ICLR 2023, whose server
    takes max(1, mean |delta_k|^2 / (2 |mean delta|^2)) times the mean. Deviations: for each direction of the basis by
    itself; weighted by the fused shares; at most what orthogonal steps are shortened by, since a mean near zero says
    that silos contradict each other, and not how far to go.
"""

from collections.abc import Callable

import numpy as np

from aggregator.blocks import F64


def followed_as_it_is(products: F64, _fused: F64) -> F64:
    """The mean alone."""
    return np.ones((len(products), 1))


def by_matrix(products: F64, fused: F64) -> F64:
    """One gain for all directions, as FedExP has one for all values."""
    separate, joint = _squares(products, fused)
    gain = _bounded(separate.sum(), joint.sum(), _most(fused).min())
    return np.full((len(products), 1), gain)


def by_direction(products: F64, fused: F64) -> F64:
    """A gain for each direction: large where silos are apart, 1 where they agree."""
    separate, joint = _squares(products, fused)
    return _bounded(separate, joint, _most(fused))[:, None]


def _squares(products: F64, fused: F64) -> tuple[F64, F64]:
    """The mean of the silos' squares and the square of their mean, float64 [directions] each, at least 0."""
    separate: F64 = (np.einsum("ikk->ik", products) * fused).sum(axis=1)
    joint: F64 = np.einsum("ikl,ik,il->i", products, fused, fused)
    return separate, np.maximum(joint, 0.0)


def _bounded(separate: F64, joint: F64, most: F64) -> F64:
    """Separate / (2 joint), from 1 to `most`; 1 where nobody moves."""
    wanted = np.divide(separate, 2.0 * joint, out=np.full_like(separate, np.inf), where=joint > 0.0)
    gain: F64 = np.where(separate > 0.0, np.clip(wanted, 1.0, most), 1.0)
    return gain


def _most(fused: F64) -> F64:
    """By how much orthogonal coefficients of one length are shortened: 1 / |r_i|, float64 [directions], at least 1."""
    lengths: F64 = np.sqrt((fused * fused).sum(axis=1))
    return np.maximum(1.0 / lengths, 1.0)


EXTRAPOLATIONS: dict[str, Callable[[F64, F64], F64]] = {
    "none": followed_as_it_is,
    "matrix": by_matrix,
    "direction": by_direction,
}
"""How far the fused coefficients are followed: (products, fused shares) to float64 [directions, 1], at least 1.

products: [directions, silos, silos], see `aggregator.fed_cmp.reliability`; fused shares: [directions, silos].
"""
