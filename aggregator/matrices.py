"""Rules that see a projector's matrices: what such a rule is given, what it gives, and deltas as tiles of whole rows.

An elementwise rule (`aggregator.blocks.Rule`) sees deltas alone. A matrix rule sees, for each tensor of two dimensions
[rows, columns] = [out, in], the global projector too, and tensors of its own that were published the round before.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.blocks import F64, Block, CombinedBlock, Payload, RosterBlocks
from isthmus.codec import F32, decode
from isthmus.contribution import Encoding
from isthmus.payload import ITEM_BYTES, spans
from isthmus.spec import ProjectorSpec, TensorSpec

BLOCKS_SHARE = 8
"""Of the memory budget, one part in so many is for blocks; the rest is the rule's."""

TILE_ROWS = 64
"""Rows of a tile, whatever the memory budget: a product of other sizes may end in other last digits."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """One tensor of two dimensions, [rows, columns]; `position` is its first value's among all of the projector."""

    name: str
    rows: int
    columns: int
    position: int


@dataclass(frozen=True, slots=True)
class MatrixRound:
    """What a matrix rule sees beside the deltas.

    Attributes:
        spec: Of the projector.
        projector: The global projector that the round starts from, float32.
        state: The rule's own tensors as it left them the round before, float32; empty before its first round.
        memory_budget_bytes: What the round may hold at once, its blocks included.
    """

    spec: ProjectorSpec
    projector: Payload
    state: Mapping[str, F32]
    memory_budget_bytes: int

    def base(self, matrix: Matrix, row: int, count: int) -> F64:
        """Rows [row, row + count) of a matrix of the global projector."""
        item_bytes = ITEM_BYTES[Encoding.FP32]
        offset = self.projector.data_start_bytes + (matrix.position + row * matrix.columns) * item_bytes
        data = self.projector.read(offset, count * matrix.columns * item_bytes)
        rows: F64 = decode(data, Encoding.FP32).reshape(count, matrix.columns).astype(np.float64)
        return rows


@dataclass(frozen=True, slots=True)
class MatrixCombined:
    """What a matrix rule gives: combined blocks as any rule does, and all tensors of its next state, float32."""

    blocks: Iterator[CombinedBlock]
    state: Mapping[str, F32]


@dataclass(frozen=True, slots=True)
class MatrixRule:
    """A rule with its options.

    1. Its blocks keep what `aggregator.blocks.Rule` says under 1 to 5.
    2. Its state has the tensors that `state` names for the projector's spec, each round, and does not depend on the
       length of blocks or on the memory budget either.
    3. It depends on the roster, the projector and its state alone. It may use BLAS and LAPACK: then its entry declares
       a tolerance, and on one machine the same bits come out twice.

    Attributes:
        state: The tensors that it publishes with a projector of this spec; none: it remembers nothing.
        combine: See above. Raises ConfigInvalid where the memory budget is too small; says the least that is enough.
    """

    state: Callable[[ProjectorSpec], tuple[TensorSpec, ...]]
    combine: Callable[[RosterBlocks, MatrixRound], MatrixCombined]


@dataclass(frozen=True, slots=True)
class Tile:
    """Whole rows of one matrix from every delta: float32 [num_silos, count, columns] from row `row` on.

    Gone once the next is asked for.
    """

    matrix: Matrix
    row: int
    values: F32

    @property
    def rows(self) -> slice:
        """Where they lie in the matrix."""
        return slice(self.row, self.row + self.values.shape[1])


def matrices_of(spec: ProjectorSpec) -> list[Matrix]:
    """The tensors of two dimensions, in the spec's order."""
    found, position = [], 0
    for tensor in spec.tensors:
        if len(tensor.shape) == 2:
            found.append(Matrix(tensor.name, *tensor.shape, position))
        position += tensor.num_elements
    return found


def row_tiles(blocks: Iterable[Block], matrices: Collection[Matrix]) -> Iterator[Tile]:
    """The rows of these matrices, TILE_ROWS at a time and at the end fewer, whatever the length of the blocks."""
    wanted = {matrix.name: matrix for matrix in matrices}
    buffer = np.empty((0, 0), np.float32)
    for block in blocks:
        matrix = wanted.get(block.tensor)
        if matrix is None:
            continue
        if block.start == 0:
            buffer = np.empty((len(block.values), min(TILE_ROWS, matrix.rows) * matrix.columns), np.float32)
        yield from _filled(matrix, block, buffer)


def _filled(matrix: Matrix, block: Block, buffer: F32) -> Iterator[Tile]:
    """Puts a block's values into the buffer; a tile whenever that is full or the matrix at its end."""
    size, done, count = buffer.shape[1], 0, block.values.shape[1]
    while done < count:
        start = block.start + done
        at = start % size
        taken = min(size - at, count - done)
        buffer[:, at : at + taken] = block.values[:, done : done + taken]
        done += taken
        if at + taken == size or start + taken == matrix.rows * matrix.columns:
            tile = buffer[:, : at + taken].reshape(len(buffer), -1, matrix.columns)
            yield Tile(matrix, (start - at) // matrix.columns, tile)


def tensors_of(payload: Payload, stored: ProjectorSpec, wanted: Iterable[TensorSpec]) -> dict[str, F32]:
    """Some tensors of a stored float32 payload, whole.

    Args:
        payload: Where they are.
        stored: All that the payload holds.
        wanted: Which of it.
    """
    begins = {span.tensor.name: span.start for span in spans(stored, Encoding.FP32)}
    found = {}
    for tensor in wanted:
        size_bytes = tensor.num_elements * ITEM_BYTES[Encoding.FP32]
        data = payload.read(payload.data_start_bytes + begins[tensor.name], size_bytes)
        found[tensor.name] = decode(data, Encoding.FP32).reshape(tensor.shape)
    return found
