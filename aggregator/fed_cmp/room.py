"""How many matrices Fed-CMP works on in one pass: as many as the memory budget holds, each at least by itself."""

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
    need = {matrix: work_bytes(matrix, num_silos=num_silos, rank=rank) for matrix in matrices}
    kept = sum(kept_bytes(matrix, rank=rank) for matrix in matrices)
    own_bytes = seen.memory_budget_bytes - seen.memory_budget_bytes // BLOCKS_SHARE
    _require(seen.memory_budget_bytes, own_bytes, least_bytes=kept + max(need.values(), default=0), num_silos=num_silos)
    runs: list[list[Matrix]] = []
    room = 0
    for matrix in matrices:
        if need[matrix] > room:
            runs.append([])
            room = own_bytes - kept
        runs[-1].append(matrix)
        room -= need[matrix]
    return runs


def work_bytes(matrix: Matrix, *, num_silos: int, rank: int) -> int:
    """Held while a matrix is worked on: projections of all silos, the search's columns, a tile, its float64 rows."""
    width = block_width(matrix, rank=rank)
    tile = min(TILE_ROWS, matrix.rows) * matrix.columns
    projections = _F64_BYTES * matrix.columns * width * (num_silos + 3)
    search = _F64_BYTES * matrix.rows * width * (4 * STEPS + 2)
    products = _F64_BYTES * min(rank, matrix.rows) * num_silos * (num_silos + 8)
    return projections + search + products + 4 * num_silos * tile + 3 * _F64_BYTES * tile


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
