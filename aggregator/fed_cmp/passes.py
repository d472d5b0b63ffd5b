"""Passes over a roster that multiply matrices: several matrices in one pass, a tile of rows of one silo at a time.

Float64, so that rounding stays far below what separates the directions. Each silo's matrix is W_k = W + delta_k, with
W the global projector; without it (the options may say so) W_k is delta_k alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.blocks import F64, RosterBlocks
from aggregator.matrices import Matrix, MatrixRound, row_tiles


@dataclass(frozen=True, slots=True)
class Projected:
    """Matrices seen from some directions X, float64 [rows, count].

    Attributes:
        deltas: delta_k^T X of each silo, float64 [num_silos, columns, count].
        base: W^T X, float64 [columns, count]; zeros where the global projector is left out.
    """

    deltas: F64
    base: F64


@dataclass(frozen=True, slots=True)
class Applied:
    """A X with A = sum over k of W_k W_k^T, float64 [rows, count], and the trace of A."""

    values: F64
    trace: float


def projected(
    roster: RosterBlocks, seen: MatrixRound, directions: Mapping[Matrix, F64], *, with_base: bool
) -> dict[Matrix, Projected]:
    """All silos' matrices, and the global projector's, projected onto directions of their own. One pass."""
    found = {matrix: _nothing(matrix, roster.num_silos, some.shape[1]) for matrix, some in directions.items()}
    for tile in row_tiles(roster, directions):
        part, sums = directions[tile.matrix][tile.rows], found[tile.matrix]
        for silo, rows in enumerate(tile.values):
            sums.deltas[silo] += rows.astype(np.float64).T @ part
        if with_base:
            sums.base[:] += seen.base(tile.matrix, tile.row, len(part)).T @ part
    return found


def _nothing(matrix: Matrix, num_silos: int, count: int) -> Projected:
    return Projected(np.zeros((num_silos, matrix.columns, count)), np.zeros((matrix.columns, count)))


def applied(
    roster: RosterBlocks, seen: MatrixRound, projections: Mapping[Matrix, Projected], *, with_base: bool
) -> dict[Matrix, Applied]:
    """A X from the projections onto X, which are used up. One pass."""
    values = {matrix: np.zeros((matrix.rows, part.base.shape[1])) for matrix, part in projections.items()}
    traces = dict.fromkeys(projections, 0.0)
    sums = {}
    for matrix, projection in projections.items():
        projection.deltas[:] += projection.base  # from here on W_k^T X
        sums[matrix] = projection.deltas.sum(axis=0)
    for tile in row_tiles(roster, projections):
        matrix, out = tile.matrix, values[tile.matrix][tile.rows]
        base = seen.base(matrix, tile.row, len(out)) if with_base else np.zeros(tile.values.shape[1:])
        out += base @ sums[matrix]
        traces[matrix] += roster.num_silos * float(np.vdot(base, base))
        for silo, rows in enumerate(tile.values):
            delta = rows.astype(np.float64)
            out += delta @ projections[matrix].deltas[silo]
            traces[matrix] += float(np.vdot(delta, delta)) + 2.0 * float(np.vdot(base, delta))
    return {matrix: Applied(values[matrix], traces[matrix]) for matrix in projections}
