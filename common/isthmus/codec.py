"""How values travel: float32 to the bytes of an encoding and back. Numpy alone, so that a service needs no torch.

Encoding rounds to nearest, ties to even, as torch does; decoding is exact.
"""

import numpy as np
import numpy.typing as npt

from isthmus.contribution import Encoding

F32 = npt.NDArray[np.float32]
"""Float32 values in the machine's byte order."""


def decode(data: bytes | bytearray | memoryview, encoding: Encoding) -> F32:
    """The values that these bytes encode.

    Args:
        data: Whole values, little endian, as in safetensors.
        encoding: How they are encoded.

    Returns:
        float32 [num_values], exact. May share memory with `data` and be read-only.
    """
    match encoding:
        case Encoding.FP32:
            return np.frombuffer(data, "<f4").astype(np.float32, copy=False)
        case Encoding.FP16:
            return np.frombuffer(data, "<f2").astype(np.float32)
        case Encoding.BF16:
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def encode(values: F32, encoding: Encoding) -> bytes:
    """The bytes of these values, little endian, as in safetensors.

    A value beyond the encoding's range becomes infinity, and NaN stays NaN: whoever sends the bytes checks that they
    are finite.

    Args:
        values: float32, any shape; row-major order.
        encoding: How to encode them.
    """
    match encoding:
        case Encoding.FP32:
            return values.astype("<f4", copy=False).tobytes()
        case Encoding.FP16:
            with np.errstate(over="ignore"):
                return values.astype("<f2").tobytes()
        case Encoding.BF16:
            return _to_bf16(values).tobytes()


def _to_bf16(values: F32) -> npt.NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest even by adding just under half of the lower one's range."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    quiet_nan = (bits >> 16) | np.uint32(0x40)  # rounding a NaN could carry it over into infinity or zero
    return np.where(np.isnan(values), quiet_nan, rounded).astype("<u2")
