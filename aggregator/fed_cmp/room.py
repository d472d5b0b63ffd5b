"""How many matrices Fed-CMP works on in one pass: as many as the memory budget holds, each at least by itself."""

from collections.abc import Sequence

from aggregator.fed_cmp.basis import STEPS, block_width
from aggregator.matrices import BLOCKS_SHARE, TILE_ROWS, Matrix, MatrixRound, matrices_of
from isthmus.errors import ConfigInvalid

_F64_BYTES = 8


def groups(seen: MatrixRound, *, num_silos: int, rank: int) -> list[list[Matrix]]:
    """The matrices in their order, in runs that fit. A matrix' bits do not depend on its company.

    Raises:
        ConfigInvalid: Not even one at a time fits.
    """
    matrices = matrices_of(seen.spec)
    kept = sum(kept_bytes(matrix, rank=rank) for matrix in matrices)
    least = kept + max((work_bytes([one], num_silos=num_silos, rank=rank) for one in matrices), default=0)
    own_bytes = seen.memory_budget_bytes - seen.memory_budget_bytes // BLOCKS_SHARE
    _require(seen.memory_budget_bytes, own_bytes, least_bytes=least, num_silos=num_silos)
    runs: list[list[Matrix]] = []
    for matrix in matrices:
        if runs and work_bytes([*runs[-1], matrix], num_silos=num_silos, rank=rank) <= own_bytes - kept:
            runs[-1].append(matrix)
        else:
            runs.append([matrix])
    return runs


def work_bytes(group: Sequence[Matrix], *, num_silos: int, rank: int) -> int:
    """Held at once while a group is worked on.

    All searches' columns; and either all silos' projections with one tile, as it came and in float64, or, once these
    are gone, what QR takes for one matrix.
    """
    searches = projections = products = 0
    for matrix in group:
        width = block_width(matrix, rank=rank)
        searches += (2 * STEPS + 2) * matrix.rows * width
        projections += (num_silos + 3) * matrix.columns * width
        products += num_silos * (num_silos + 8) * min(rank, matrix.rows)
    tile = max(min(TILE_ROWS, matrix.rows) * matrix.columns for matrix in group)
    factored = max(5 * (STEPS + 1) * matrix.rows * block_width(matrix, rank=rank) for matrix in group)
    walking = _F64_BYTES * (projections + products + 3 * tile) + 4 * num_silos * tile
    return _F64_BYTES * searches + max(walking, _F64_BYTES * factored)


def kept_bytes(matrix: Matrix, *, rank: int) -> int:
    """Held of a matrix to the round's end: its correction's factors, and its state before and after."""
    directions = min(rank, matrix.rows)
    return _F64_BYTES * directions * (6 * matrix.rows + 2 * matrix.columns)


def _require(budget_bytes: int, own_bytes: int, *, least_bytes: int, num_silos: int) -> None:
    if own_bytes < least_bytes:
        enough_bytes = (least_bytes - 1) * BLOCKS_SHARE // (BLOCKS_SHARE - 1) + 1
        raise ConfigInvalid(
            f"A memory budget of {budget_bytes} bytes is too small for the rule fed_cmp, {num_silos} deltas and the "
            f"largest matrix; configure at least {enough_bytes} bytes, or create the federation with a lower rank.",
            measured=budget_bytes,
            limit=enough_bytes,
        )
