"""The two linear maps that steps before a rule are made of: deltas scaled, and deltas averaged in groups.

Both carry the inner products along where they are known, so that one pass serves all steps and the rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from aggregator.blocks import F64, Block, RosterBlocks
from isthmus.codec import F32

_Node = tuple[int, int]
"""Level and place in a tree over the roster: the run of 2**level rows from place * 2**level on, cut at the end."""

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
    """A roster of one delta for each group: the plain mean of its members.

    Float32. Members are added in pairs of neighbours, in pairs of pairs, and so on, as far as whole pairs are in the
    group; what that gives is added in roster order. Groups that share most members, as those of nearest neighbours
    do, share most additions.

    A mean weighs as many as it has members: whatever its silos claim, an average that they share cannot tell whose
    claim it was.

    Args:
        roster: The members.
        groups: Rows of each group, ascending; a row may be in several. At least one group, none empty, not more
            than deltas.
    """
    terms = [_terms(frozenset(group), roster.num_silos) for group in groups]
    height = max(level for nodes in terms for level, _ in nodes)

    def walk() -> Iterator[Block]:
        for block in roster:
            for start in range(0, block.values.shape[1], _COLUMNS):
                part = block.values[:, start : start + _COLUMNS]
                sums = _sums(list(part.copy()), height)
                for mean, group, ((level, place), *others) in zip(part, groups, terms, strict=False):
                    mean[:] = sums[level][place]
                    for level, place in others:
                        mean += sums[level][place]
                    mean /= np.float32(len(group))
            yield replace(block, values=block.values[: len(groups)])

    products = None if roster.products is None else _averaged_products(roster.products, groups)
    return replace(roster, num_examples=tuple(len(group) for group in groups), walk=walk, products=products)


def _terms(group: frozenset[int], num_rows: int) -> list[_Node]:
    """The largest runs of the tree of neighbours, in order, that make up the group."""
    found: list[_Node] = []
    waiting = [((num_rows - 1).bit_length(), 0)]
    while waiting:
        level, place = waiting.pop()
        run = range(place << level, min((place + 1) << level, num_rows))
        if run and group.issuperset(run):
            found.append((level, place))
        elif run and level:
            waiting += [(level - 1, 2 * place + 1), (level - 1, 2 * place)]
    return found


def _sums(rows: list[F32], height: int) -> list[list[F32]]:
    """The rows, the sums of each two neighbours, of each four, and so on to 2**height; a last one alone stays."""
    levels = [rows]
    for _ in range(height):
        below = levels[-1]
        pairs = [first + second for first, second in zip(below[::2], below[1::2], strict=False)]
        levels.append(pairs + below[len(pairs) * 2 :])
    return levels


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
