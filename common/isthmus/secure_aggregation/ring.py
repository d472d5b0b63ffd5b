"""Deltas as whole numbers modulo 2^32, where masks cancel to the last bit. Pure.

A value x becomes rint(clip(x, -R, R) * L / R) * weight with L = 2^bits - 1, and the sum over silos, read as a signed
number, times R / (L * sum of weights) is their weighted mean, off by no more than R / (2 L). L and not 2^bits, so that
a sum at the very end of its range does not wrap.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from isthmus.codec import F32

U32 = npt.NDArray[np.uint32]
"""Unsigned 32-bit words in the machine's byte order; sums of them wrap, which is the point."""

WORD_BYTES = 4

ZERO_WORDS = 8
"""Words before the values that every silo sets to zero: they open to zero, or masks did not cancel."""

ROOM_BITS = 31
"""Bits of a sum without its sign."""

LEAST_BITS = 8
"""Of a value: fewer would be no training."""


def fitting_bits(asked: int, *, total_weight: int) -> int:
    """Bits of a value, so that the sum of all silos fits: at most those asked for.

    Args:
        asked: The federation's.
        total_weight: Sum of the weights of all silos of the round, at least 1.

    Returns:
        `asked`, or what the weights leave of 31; below LEAST_BITS where that is too little.
    """
    return min(asked, ROOM_BITS - (total_weight - 1).bit_length())


def quantise(values: F32, *, clip: float, bits: int, weight: int) -> U32:
    """The words of these values.

    Args:
        values: float32, any shape, finite.
        clip: R: what lies beyond is cut to it.
        bits: As `fitting_bits` gives them.
        weight: Of this silo, at least 1.

    Returns:
        uint32 [values.size].
    """
    levels = np.clip(values.reshape(-1).astype(np.float64), -clip, clip)
    levels *= (2**bits - 1) / clip
    return (np.rint(levels, out=levels).astype(np.int64) * weight).astype(np.uint32)


def mean_of(total: U32, *, clip: float, bits: int, total_weight: int) -> F32:
    """The weighted mean that a sum of words stands for: float32, rounded once."""
    factor = clip / ((2**bits - 1) * total_weight)
    return (total.view(np.int32) * np.float64(factor)).astype(np.float32)


def words_of(data: bytes | memoryview) -> U32:
    """Little-endian bytes as words; may share memory and be read-only."""
    return np.frombuffer(data, "<u4").astype(np.uint32, copy=False)


def bytes_of(words: U32) -> memoryview:
    """Words as little-endian bytes."""
    return memoryview(words.astype("<u4", copy=False).view(np.uint8).data)


def summed(parts: Iterable[U32], *, length: int) -> U32:
    """The sum of words modulo 2^32, in the order given; any order gives the same."""
    total = np.zeros(length, np.uint32)
    for words in parts:
        total += words
    return total
