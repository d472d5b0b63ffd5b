"""Between float32 and bfloat16, as numpy has none: the upper half of a float32's bits."""

import numpy as np
import numpy.typing as npt

BFLOAT16_BYTES = 2
"""Of one value."""


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of each value, little endian, any shape: rounded to nearest, ties to even, as torch does.

    A value beyond the range becomes infinity; NaN stays NaN. Adds just under half of the lower half's range.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    quiet_nan = (bits >> 16) | np.uint32(0x40)  # rounding a NaN could carry it over into infinity or zero
    return np.where(np.isnan(values), quiet_nan, rounded).astype("<u2")


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The value of each bit pattern, little endian, any shape; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
