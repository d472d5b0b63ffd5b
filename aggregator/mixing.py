"""The two linear maps that steps before a rule are made of: deltas scaled, and deltas averaged in groups.

Both carry the inner products along where they are known, so that one pass serves all steps and the rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from aggregator.blocks import F64, Block, RosterBlocks
from isthmus.codec import F32

_COLUMNS = 4096
"""Values of each delta that are mixed at a time: few enough to stay in a processor's cache with those of 32 silos."""


def scaled(roster: RosterBlocks, factors: Sequence[np.float32]) -> RosterBlocks:
    """The roster with each delta times its factor; one of factor 1 stays bit for bit what it is.

    Products are float32, elementwise.
    """
    changed = [(row, factor) for row, factor in enumerate(factors) if factor != 1.0]
    if not changed:
        return roster

    def walk() -> Iterator[Block]:
        for block in roster:
            for row, factor in changed:
                block.values[row] *= factor
            yield block

    products = roster.products
    if products is not None:
        exact = np.array(factors, np.float64)
        products = products * exact[:, None] * exact[None, :]
    return replace(roster, walk=walk, products=products)


def averaged(roster: RosterBlocks, groups: Sequence[Sequence[int]]) -> RosterBlocks:
    """A roster of one delta for each group: the plain mean of its members, float32, added in roster order.

    A mean weighs as many as it has members: whatever its silos claim, an average that they share cannot tell whose
    claim it was.

    Args:
        roster: The members.
        groups: Rows of each group, ascending; a row may be in several. At least one group, none empty, not more
            than deltas.
    """

    def walk() -> Iterator[Block]:
        for block in roster:
            for start in range(0, block.values.shape[1], _COLUMNS):
                _average(block.values[:, start : start + _COLUMNS], groups)
            yield replace(block, values=block.values[: len(groups)])

    products = None if roster.products is None else _averaged_products(roster.products, groups)
    return replace(roster, num_examples=tuple(len(group) for group in groups), walk=walk, products=products)


def _average(values: F32, groups: Sequence[Sequence[int]]) -> None:
    """In place: the first rows become the groups' means."""
    members = values.copy()
    for mean, (first, *others) in zip(values, groups, strict=False):
        mean[:] = members[first]
        for row in others:
            mean += members[row]
        mean /= np.float32(1 + len(others))


def _averaged_products(products: F64, groups: Sequence[Sequence[int]]) -> F64:
    """M G M^T for the matrix M that averages: rows first, then columns; added in roster order."""
    rows = _row_means(products, groups)
    return np.ascontiguousarray(_row_means(np.ascontiguousarray(rows.T), groups).T)


def _row_means(matrix: F64, groups: Sequence[Sequence[int]]) -> F64:
    means = np.empty((len(groups), matrix.shape[1]))
    for mean, (first, *others) in zip(means, groups, strict=True):
        mean[:] = matrix[first]
        for row in others:
            mean += matrix[row]
        mean /= 1 + len(others)
    return means
