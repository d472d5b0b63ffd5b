"""A roster as blocks: the same range of one tensor from every delta, so that no rule holds a whole delta.

Knows where values lie in payloads and how much may be held at once; reads through the callables it is given and knows
no store. What a block holds depends on stored bytes alone, how long it is on the memory budget.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from aggregator.pieces import Range, Span, pieces, spans, whole
from isthmus.codec import F32, SCALE_BYTES, decode, decode_int8, num_scales
from isthmus.contribution import Encoding
from isthmus.errors import ConfigInvalid, InvariantBroken
from isthmus.payload import ITEM_BYTES, PREFIX_BYTES, SCALED, scales_bytes
from isthmus.spec import ProjectorSpec
from isthmus.top_k import ENTRY_BYTES, decode_top_k, num_kept

F64 = npt.NDArray[np.float64]
"""Float64 values in the machine's byte order."""

GRAIN = 1024
"""Blocks begin at multiples of this many values from their tensor's start.

A rule that sums over a block (a Gram matrix) sums grain by grain, in order; then no block size changes its last digit.
It is a whole number of the blocks of int8 and of top_k, so that no range divides one.
"""

_LONGEST = 2 * 1024 * 1024
"""Values of the longest block: 8 MiB of float32. Longer ones save nothing."""

_BY_PIECE = SCALED | {Encoding.TOP_K}
"""Encodings whose bytes begin anew at each tensor."""

_SCRATCH_BYTES = 128
"""Held per value of a block beside the roster's own: bytes just read, projector, optimizer state, intermediates."""

_READERS = 2
"""Threads that read: while what one has read is copied, the disk works for the other (docs/LOG.md)."""

Reader = Callable[[int, int], bytes]
"""`read(offset_bytes, size_bytes)` gives exactly these bytes of one payload, which has them all."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Stored safetensors: how to read it, and where its values begin."""

    read: Reader
    data_start_bytes: int


@dataclass(frozen=True, slots=True)
class Block:
    """One range of one tensor, from every delta of a roster.

    Attributes:
        tensor: Its name.
        start: Position of the block's first value in the flattened tensor.
        values: float32 [num_silos, block], rows in roster order. Whoever walks the blocks may overwrite them; they
            are gone once the next block is asked for.
    """

    tensor: str
    start: int
    values: F32


@dataclass(frozen=True, slots=True)
class CombinedBlock:
    """What a rule makes of one block: float32 [block], gone once the next is asked for."""

    tensor: str
    start: int
    values: F32


@dataclass(frozen=True, slots=True)
class RosterBlocks:
    """The deltas of a roster, as often as a rule wants to see them.

    Attributes:
        num_examples: Aggregation weight of each delta, in roster order; above 0. Whole numbers unless a step before
            the rule scaled them.
        walk: Begins a new pass over all blocks, in the spec's order.
        products: The inner products of these deltas, float64 [num_silos, num_silos], up to rounding, where a step
            before has them; None: see `aggregator.gram.gram`. Nobody changes them in place.
        seed: Bytes that nobody knows before the roster is fixed, for steps that shuffle.
    """

    num_examples: tuple[float, ...]
    walk: Callable[[], Iterator[Block]]
    products: F64 | None = None
    seed: bytes = b""

    @property
    def num_silos(self) -> int:
        """Deltas in the roster; at least 1."""
        return len(self.num_examples)

    def __iter__(self) -> Iterator[Block]:
        return self.walk()


Rule = Callable[[RosterBlocks], Iterator[CombinedBlock]]
"""An aggregation rule. One pass or several.

1. It gives one combined block for each block of a pass, in the same order, of the same tensor, start and length.
2. Its values are float32, whatever the deltas' encoding.
3. They are the same bits whatever the length of the blocks.
4. One delta alone is combined to itself; a zero may lose its sign.
5. Equal deltas are combined to that delta, up to rounding.
6. Every combined value lies between the least and the largest of its deltas, up to rounding.
7. Deltas twice as large are combined to exactly twice the delta.
8. It depends on the roster alone: no clock, no random numbers, no thread count. So elementwise operations in a fixed
   order; BLAS only where every number on the way is exact, see `aggregator.gram`.
"""

PreStep = Callable[[RosterBlocks], RosterBlocks]
"""A step between the roster and the rule. It may make a pass of its own before it answers; it keeps for what it gives:

1. One block for each block of a pass, in the same order, of the same tensor, start and length; at least one delta, at
   most as many as before, each with its weight above 0.
2. Its values are float32.
3. They are the same bits whatever the length of the blocks.
4. One delta alone stays itself.
5. Equal deltas stay that delta, up to rounding.
6. Every value lies between the least and the largest of the deltas' values and zero, up to rounding.
7. Deltas twice as large become exactly twice as large.
8. It depends on the roster (its seed included) alone.
9. Where it gives `products`, these are the inner products of what it gives, up to rounding.

A limit that the operator wrote in absolute terms (`norm_clip` with `max_norm`) breaks 4, 5 and 7 for the deltas above
it, as it says.
"""


@dataclass(frozen=True, slots=True)
class _Raw:
    """One payload's bytes of a span; no scales where the encoding has none."""

    scales: bytes
    values: bytes


def open_payload(read: Reader) -> Payload:
    """The payload behind `read`, whose first 8 bytes say where its values begin."""
    return Payload(read, PREFIX_BYTES + int.from_bytes(read(0, PREFIX_BYTES), "little"))


def block_length(num_silos: int, *, memory_budget_bytes: int, reserved_bytes: int = 0) -> int:
    """Values of the longest block that keeps a round's arithmetic within the budget; a multiple of GRAIN.

    Args:
        num_silos: Deltas of the roster.
        memory_budget_bytes: What the arithmetic may hold at once.
        reserved_bytes: What of it is held beside the blocks.

    Raises:
        ConfigInvalid: Not even one grain of every delta fits.
    """
    bytes_per_grain = GRAIN * (8 * num_silos + _SCRATCH_BYTES)  # one block in work, the next one being read
    least_bytes = bytes_per_grain + reserved_bytes
    if memory_budget_bytes < least_bytes:
        raise ConfigInvalid(
            f"A memory budget of {memory_budget_bytes} bytes is too small to combine {num_silos} deltas; "
            f"configure at least {least_bytes} bytes.",
            measured=memory_budget_bytes,
            limit=least_bytes,
        )
    return min((memory_budget_bytes - reserved_bytes) // bytes_per_grain * GRAIN, _LONGEST)


def walk_payloads(
    spec: ProjectorSpec, payloads: Sequence[Payload], *, encoding: Encoding, length: int, within: Range | None = None
) -> Iterator[Block]:
    """The blocks of these payloads, at most `length` values each (a multiple of GRAIN).

    Blocks of neighbouring tensors are read together, so that many small tensors cost few reads; and while whoever walks
    them works on some, threads read the next ones: the disk and the processor need not wait for each other.

    Args:
        spec: Of all the payloads.
        payloads: At least one.
        encoding: Of all of them.
        length: See above.
        within: The range that is read; None: all.

    Raises:
        InvariantBroken: A payload gave fewer bytes than it has.
    """
    within = within or whole(spec)
    runs = list(spans(pieces(spec, length=length, within=within), length))
    buffer = np.empty((len(payloads), min(length, within.num_values)), np.float32)
    read = _span_reader(spec, encoding)
    with ThreadPoolExecutor(_READERS) as readers:
        # What is read at once needs no thread: there is nothing to work on meanwhile.
        first = partial(read, runs[0])
        coming = readers.map(first, payloads) if len(runs) > 1 else map(first, payloads)
        for index, span in enumerate(runs, 1):
            _decode(coming, span, encoding=encoding, rows=buffer[:, : span.count])
            if index < len(runs):
                coming = readers.map(partial(read, runs[index]), payloads)
            for piece in span.pieces:
                begin = piece.position - span.first
                yield Block(piece.tensor, piece.start, buffer[:, begin : begin + piece.count])


def _decode(payloads: Iterator[_Raw], span: Span, *, encoding: Encoding, rows: F32) -> None:
    """Fills each row as its bytes come, which nothing holds afterwards: those that are read next need the room."""
    for row, raw in zip(rows, payloads, strict=True):
        if encoding in _BY_PIECE:
            _decode_by_piece(raw, span, encoding=encoding, row=row)
        else:
            row[:] = decode(raw.values, encoding)


def _decode_by_piece(raw: _Raw, span: Span, *, encoding: Encoding, row: F32) -> None:
    """Fills one row piece by piece: the last block of a tensor may be short, and the next tensor begins another."""
    scales, values, head = memoryview(raw.scales), memoryview(raw.values), span.pieces[0]
    for piece in span.pieces:
        begin, end = piece.position - span.first, piece.position - span.first + piece.count
        if encoding is Encoding.TOP_K:
            first, count = piece.entry - head.entry, num_kept(piece.count)
            own = values[first * ENTRY_BYTES : (first + count) * ENTRY_BYTES]
            row[begin:end] = decode_top_k(own, num_values=piece.count)
        else:
            first, count = piece.scale - head.scale, num_scales(piece.count)
            own = scales[first * SCALE_BYTES : (first + count) * SCALE_BYTES]
            row[begin:end] = decode_int8(values[begin:end], scales=own)


def _span_reader(spec: ProjectorSpec, encoding: Encoding) -> Callable[[Span, Payload], _Raw]:
    """Gives a span's bytes of a payload."""
    item_bytes, before_values = ITEM_BYTES[encoding], scales_bytes(spec, encoding)

    def read(span: Span, payload: Payload) -> _Raw:
        start, scales = payload.data_start_bytes, b""
        if encoding in SCALED:
            scales = _read(payload, start + span.pieces[0].scale * SCALE_BYTES, span.num_scales * SCALE_BYTES)
        first, count = span.first, span.count
        if encoding is Encoding.TOP_K:
            first, count = span.pieces[0].entry, span.num_entries
        return _Raw(scales, _read(payload, start + before_values + first * item_bytes, count * item_bytes))

    return read


def _read(payload: Payload, offset_bytes: int, size_bytes: int) -> bytes:
    data = payload.read(offset_bytes, size_bytes)
    if len(data) != size_bytes:
        end = offset_bytes + size_bytes
        raise InvariantBroken(f"Bytes {offset_bytes} to {end} were asked for; {len(data)} came.")
    return data
