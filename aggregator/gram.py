"""Inner products and distances of a roster's deltas: what rules of whole deltas decide by.

One pass, grain by grain. In each grain every delta is rounded to a grid of its own that is so coarse that products,
and sums of a grain of them, are whole numbers below 2**53. Float64 holds these exactly, so the order of addition,
threads and fused operations of BLAS cannot change a bit: here alone a matrix product may be one.
"""

import numpy as np

from aggregator.blocks import F64, GRAIN, RosterBlocks
from isthmus.codec import F32

_BITS = 21
"""Of a rounded value: a grain of products has 2 * 21 bits and the 10 of their number, 52 of the 53 that are exact."""

_SCRATCH_BYTES_PER_VALUE = 36
"""Held for each value of a grain, beside its block: it in float64, magnitudes; or, where a step mixes, four grains in
float32 and their sums."""

_SQUARE_MATRICES = 8
"""Held at once, at most: products, distances, one more of either before and after a step."""


def scratch_bytes(num_silos: int) -> int:
    """What is held beside the blocks where inner products are taken or deltas are mixed."""
    return _SCRATCH_BYTES_PER_VALUE * GRAIN * num_silos + 8 * _SQUARE_MATRICES * num_silos**2


def gram(roster: RosterBlocks) -> F64:
    """The inner products of all deltas, float64 [num_silos, num_silos], symmetric.

    They are those of deltas whose values were rounded to within 2**-22 of the largest magnitude in the same grain of
    the same delta, and exact up to the float64 additions across grains. So a distance is off by at most 2**-17 of the
    two deltas' norms together, and by some 2**-21 of them where values are of one size; equal deltas have distance
    zero exactly. Bits do not depend on the length of blocks, on the machine or on its number of threads.
    """
    if roster.products is not None:
        return roster.products
    total = np.zeros((roster.num_silos, roster.num_silos))
    for block in roster:
        for start in range(0, block.values.shape[1], GRAIN):
            whole, unit = _whole_numbers(block.values[:, start : start + GRAIN])
            total += (whole @ whole.T) * unit * unit.T  # the product is exact, and so is scaling by powers of two
    return total


def norms(roster: RosterBlocks) -> list[float]:
    """The L2 norm of each delta, in roster order: the roots of the Gram matrix's diagonal, bit for bit."""
    if roster.products is not None:
        return [float(norm) for norm in np.sqrt(np.maximum(np.diagonal(roster.products), 0.0))]
    squares = np.zeros(roster.num_silos)
    for block in roster:
        for start in range(0, block.values.shape[1], GRAIN):
            whole, unit = _whole_numbers(block.values[:, start : start + GRAIN])
            whole *= whole
            squares += whole.sum(axis=1) * unit[:, 0] * unit[:, 0]  # a sum of whole numbers: exact in any order
    return [float(norm) for norm in np.sqrt(squares)]


def squared_distances(products: F64) -> F64:
    """The squared L2 distance of each two deltas, float64 [num_silos, num_silos], at least 0, from their products."""
    squares = np.diagonal(products)
    distances: F64 = np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    return distances


def _whole_numbers(grain: F32) -> tuple[F64, F64]:
    """Float64 [num_silos, grain] of whole numbers of at most 2**21, and the power of two [num_silos, 1] they count."""
    _, exponents = np.frexp(np.abs(grain).max(axis=1, keepdims=True))
    whole: F64 = grain * np.ldexp(1.0, _BITS - exponents)
    return np.rint(whole, out=whole), np.ldexp(1.0, exponents - _BITS)
