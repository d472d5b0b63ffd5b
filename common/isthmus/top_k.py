"""Top-k by blocks: of each 1024 values the 64 largest in magnitude travel, each as its index and a bfloat16.

A tensor is cut, from its start, into blocks of BLOCK values, of which KEPT are kept; of a shorter last block of m
values ceil(m / 16). All others decode to 0. So the bytes of n values follow from n alone, and a run of values that
begins with a block is a run of entries.

Values are rounded to bfloat16 first, and -0 becomes 0; then the largest are kept, of equal ones those of lower index.
So there is one way to write what can be decoded, and encoding what was decoded gives the same bytes.

Aji and Heafield 2017 ("gradient dropping"); Stich et al. 2018, definitions 2.1 and 2.2 (k-contraction, top_k).
Deviation: they keep the largest of a whole tensor or model, this those of each block; and what is kept is rounded.
Within a block the contraction holds as it does there. ADR 37 has the reasons.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.bfloat16 import from_bfloat16, to_bfloat16
from isthmus.errors import InvariantBroken

BLOCK: Final = 1024
"""Values of one block, counted from their tensor's start; a tensor's last one may be shorter."""

KEPT: Final = 64
"""The k of top-k: values kept of each whole block. Part of the encoding: no federation chooses another."""

VALUES_PER_ENTRY: Final = BLOCK // KEPT
"""One value is kept of so many; of a shorter last block of m values ceil(m / 16), so that no tensor is without any."""

ENTRY_BYTES: Final = 4
"""Of one kept value: its index in the block and the bits of its bfloat16, both unsigned 16-bit little endian."""

MAGNITUDE_BITS: Final = 0x7FFF
"""Of a bfloat16, all bits but the sign; they rise with the magnitude."""

_MINUS_ZERO: Final = 0x8000
_INDEX_BITS: Final = 10
_BLOCKS_AT_ONCE: Final = 1024
"""Encoded together: what that holds beside the result is some 20 MiB, whatever the tensor's size."""

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]


def num_kept(num_values: int) -> int:
    """Entries of a tensor of so many values, or of a run of it that begins with a block."""
    return -(-num_values // VALUES_PER_ENTRY)


def encode_top_k(values: F32) -> bytes:
    """The entries of one tensor, `ENTRY_BYTES * num_kept(len(values))` bytes.

    A value beyond bfloat16's range becomes infinity, and NaN stays NaN; both count as larger than any number.

    Args:
        values: float32 [num_values].
    """
    whole = len(values) // BLOCK * BLOCK
    step = _BLOCKS_AT_ONCE * BLOCK
    parts = [_entries(values[start : min(start + step, whole)].reshape(-1, BLOCK)) for start in range(0, whole, step)]
    if whole < len(values):
        parts.append(_entries(values[whole:].reshape(1, -1)))
    return b"".join(parts)


def decode_top_k(data: bytes | bytearray | memoryview, *, num_values: int) -> F32:
    """The values of a tensor, or of a run of it that begins with a block: float32 [num_values], exact.

    Args:
        data: Its entries, judged before.
        num_values: How many values they stand for.

    Raises:
        InvariantBroken: An index lies beyond its block: nobody judged these bytes.
    """
    entries = read_entries(data)
    indices = entries[:, 0].astype(np.int64)
    starts = np.arange(len(entries)) // KEPT * BLOCK
    if (indices >= np.minimum(BLOCK, num_values - starts)).any():
        raise InvariantBroken("An index of top_k lies beyond its block; admission refuses such bytes.")
    values = np.zeros(num_values, np.float32)
    values[starts + indices] = from_bfloat16(entries[:, 1])
    return values


def read_entries(data: bytes | bytearray | memoryview) -> U16:
    """Index and bits of each entry, uint16 [num_entries, 2]: whatever stands there, judged by nobody yet."""
    return np.frombuffer(data, "<u2").reshape(-1, 2)


def _entries(blocks: F32) -> bytes:
    """The entries of blocks of one length: float32 [num_blocks, length]."""
    length = blocks.shape[1]
    kept = num_kept(length)
    bits = to_bfloat16(blocks)
    bits[bits == _MINUS_ZERO] = 0
    # One number ranks by magnitude, then by index, lower ones first; no two are equal, so any sort gives one answer.
    places = np.arange(length - 1, -1, -1, dtype=np.uint32)
    ranks = (bits & np.uint16(MAGNITUDE_BITS)).astype(np.uint32) << _INDEX_BITS | places
    ranks.partition(length - kept, axis=1)
    indices = np.sort(length - 1 - (ranks[:, length - kept :] & np.uint32(BLOCK - 1)).astype(np.int64), axis=1)
    entries = np.empty((len(blocks), kept, 2), "<u2")
    entries[:, :, 0] = indices
    entries[:, :, 1] = np.take_along_axis(bits, indices, axis=1)
    return entries.tobytes()
