"""From a basis and what silos look like in it to the correction of the mean: two thin factors for each matrix.

With d the weighted mean of the deltas, the next projector of Fed-CMP without a server optimizer's rate is W + d + L R.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.blocks import F64, CombinedBlock
from aggregator.fed_cmp.passes import Projected
from aggregator.matrices import TILE_ROWS, Matrix
from isthmus.codec import F32


@dataclass(frozen=True, slots=True)
class Correction:
    """What one matrix gets beside its mean: left @ right, float64 [rows, count] and [count, columns]."""

    left: F64
    right: F64


def products_of(coefficients: F64) -> F64:
    """products[i, k, l] = e_ki . e_li, float64 [directions, silos, silos].

    Args:
        coefficients: delta_k^T U, float64 [silos, columns, directions].
    """
    rows = coefficients.transpose(2, 0, 1)
    found = np.empty((len(rows), len(coefficients), len(coefficients)))
    for direction, row in enumerate(rows):
        own = np.ascontiguousarray(row)
        found[direction] = own @ own.T
    return found


def correction(seen: Projected, vectors: F64, *, shares: F64, parts: F64, moved: F64 | None) -> Correction:
    """U (F - C) + (U' - U) F, with C the mean's coefficients and F the fused ones.

    Args:
        seen: All deltas, and W, from the directions U; not changed.
        vectors: U, orthonormal columns [rows, rank].
        shares: n_k / n, float64 [silos].
        parts: g_i r_ki, float64 [rank, silos]. Where they equal `shares` exactly, F - C is exactly zero.
        moved: U', the basis after its step; None: it stays.
    """
    gain = np.zeros((vectors.shape[1], seen.deltas.shape[1]))
    fused = seen.base.T.copy()
    for silo, delta in enumerate(seen.deltas):
        gain += (parts[:, silo] - shares[silo])[:, None] * delta.T
        fused += parts[:, silo][:, None] * delta.T
    if moved is None:
        return Correction(vectors, gain)
    return Correction(np.hstack([vectors, moved - vectors]), np.vstack([gain, fused]))


def corrected(
    blocks: Iterator[CombinedBlock], matrices: Mapping[str, Matrix], corrections: Mapping[str, Correction]
) -> Iterator[CombinedBlock]:
    """Combined blocks with their matrix' correction added, in float32. They may be overwritten."""
    rows = _Rows()
    for block in blocks:
        if block.tensor in corrections:
            rows.add(block, matrices[block.tensor], corrections[block.tensor])
        yield block


class _Rows:
    """The rows of a correction, computed TILE_ROWS at a time whatever the blocks are; remembers the last tile."""

    def __init__(self) -> None:
        self._at: tuple[str, int] | None = None
        self._tile: F32 = np.empty(0, np.float32)

    def add(self, block: CombinedBlock, matrix: Matrix, own: Correction) -> None:
        """Adds what belongs to a block."""
        size, done = TILE_ROWS * matrix.columns, 0
        while done < len(block.values):
            index, at = divmod(block.start + done, size)
            if self._at != (matrix.name, index):
                left = own.left[index * TILE_ROWS : (index + 1) * TILE_ROWS]
                self._at, self._tile = (matrix.name, index), (left @ own.right).astype(np.float32).ravel()
            taken = min(size - at, len(block.values) - done)
            block.values[done : done + taken] += self._tile[at : at + taken]
            done += taken
