"""How values travel: float32 to the bytes of an encoding and back. Numpy alone, so that a service needs no torch.

Encoding rounds to nearest, ties to even, as torch does; decoding is exact.

int8 cuts a tensor into blocks of SCALE_BLOCK values, each with a bfloat16 scale s: x becomes q = rint(x / s) in
-127..127, and q * s is its value. s is max|x| / 127 rounded to bfloat16, at least 2^-126, and 0 for a block that is all
zeros then. With 8 bits of a scale and 7 of a value every q * s is a float32, and no |x| / s rounds beyond 127: so |x -
q * s| <= s / 2 always, and what was decoded is encoded to the same bytes again. ADR 32 has the reasons.

top_k is `isthmus.top_k`'s.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from isthmus.bfloat16 import BFLOAT16_BYTES, from_bfloat16, to_bfloat16
from isthmus.contribution import Encoding
from isthmus.errors import InvariantBroken
from isthmus.top_k import decode_top_k, encode_top_k

F32 = npt.NDArray[np.float32]
"""Float32 values in the machine's byte order."""

SCALE_BLOCK = 1024
"""Values of int8 that share a scale, counted from their tensor's start; a tensor's last block may be shorter."""

SCALE_BYTES = BFLOAT16_BYTES
"""Of one scale: a bfloat16."""

LEAST_SCALE = np.float32(2.0**-126)
"""Of a block that is not all zeros: float32's least normal number, below which nothing is exact."""

MOST_SCALE = np.float32(2.0**121 * (1 + 2.0**-7))
"""The largest whose 127-fold is a float32."""

_MOST = np.float32(127.0)

Data = bytes | bytearray | memoryview


def num_scales(num_values: int) -> int:
    """Blocks of a tensor of so many values, which is how many scales it has in int8."""
    return -(-num_values // SCALE_BLOCK)


def decode(data: Data, encoding: Encoding, *, num_values: int | None = None) -> F32:
    """The values that these bytes encode.

    Args:
        data: Whole values, little endian, as in safetensors. For int8: the scales of one tensor, then its values; or
            of a run of it that begins with a block. For top_k: the entries of such a run.
        encoding: How they are encoded.
        num_values: How many they are; only top_k must be told, for the bytes of the others say it.

    Returns:
        float32 [num_values], exact. May share memory with `data` and be read-only.

    Raises:
        InvariantBroken: The bytes are masked words; or entries of which nobody said how many values they stand for.
    """
    match encoding:
        case Encoding.FP32:
            return np.frombuffer(data, "<f4").astype(np.float32, copy=False)
        case Encoding.FP16:
            return np.frombuffer(data, "<f2").astype(np.float32)
        case Encoding.BF16:
            return from_bfloat16(np.frombuffer(data, "<u2"))
        case Encoding.INT8:
            view = memoryview(data)
            start = SCALE_BYTES * -(-view.nbytes // (SCALE_BLOCK + SCALE_BYTES))
            return decode_int8(view[start:], scales=view[:start])
        case Encoding.TOP_K if num_values is not None:
            return decode_top_k(data, num_values=num_values)
        case Encoding.TOP_K:
            raise InvariantBroken("Entries of top_k do not say how many values they stand for.")
        case Encoding.RING32:
            raise _masked()


def decode_int8(data: Data, *, scales: Data) -> F32:
    """The values of int8 that begin with a block, with the scales of their blocks: float32 [num_values], exact."""
    levels, factors = np.frombuffer(data, np.int8), decode_scales(scales)
    values = np.empty(len(levels), np.float32)
    whole = len(levels) // SCALE_BLOCK
    end = whole * SCALE_BLOCK
    blocks = levels[:end].reshape(whole, SCALE_BLOCK)
    np.multiply(blocks, factors[:whole, None], out=values[:end].reshape(whole, SCALE_BLOCK))
    if end < len(levels):
        np.multiply(levels[end:], factors[whole], out=values[end:])
    return values


def decode_scales(data: Data) -> F32:
    """Scales as float32 [num_blocks]: whatever stands there, judged by nobody yet."""
    return from_bfloat16(np.frombuffer(data, "<u2"))


def encode(values: F32, encoding: Encoding) -> bytes:
    """The bytes of one tensor's values, little endian, as in safetensors; of int8 the scales come first.

    A value beyond a floating-point encoding's range becomes infinity, and NaN stays NaN: whoever sends the bytes
    checks that they are finite. int8 has neither; whoever encodes checks the values before.

    Args:
        values: float32, any shape; row-major order.
        encoding: How to encode them.
    """
    return b"".join(_parts(values, encoding))


def encode_tensors(tensors: Iterable[F32], encoding: Encoding) -> list[bytes]:
    """What stands after a payload's header, in parts: the scales of every tensor where there are any, then the values.

    Args:
        tensors: float32, in the spec's order; see `encode`.
        encoding: How to encode them.
    """
    parts = [_parts(values, encoding) for values in tensors]
    return [*(scales for scales, _ in parts if scales), *(data for _, data in parts)]


def _parts(values: F32, encoding: Encoding) -> tuple[bytes, bytes]:
    """Scales and values of one tensor; no scales unless the encoding has them."""
    match encoding:
        case Encoding.FP32:
            return b"", values.astype("<f4", copy=False).tobytes()
        case Encoding.FP16:
            with np.errstate(over="ignore"):
                return b"", values.astype("<f2").tobytes()
        case Encoding.BF16:
            return b"", to_bfloat16(values).tobytes()
        case Encoding.INT8:
            return _to_int8(np.ascontiguousarray(values, np.float32).reshape(-1))
        case Encoding.TOP_K:
            return b"", encode_top_k(np.ascontiguousarray(values, np.float32).reshape(-1))
        case Encoding.RING32:
            raise _masked()


def _masked() -> InvariantBroken:
    return InvariantBroken("Masked words are neither made of one tensor's values alone nor read back as such.")


def _to_int8(flat: F32) -> tuple[bytes, bytes]:
    """Scales and values of one tensor: float32 [num_values], finite."""
    blocks = np.zeros((num_scales(len(flat)), SCALE_BLOCK), np.float32)
    blocks.reshape(-1)[: len(flat)] = flat
    largest = np.abs(blocks).max(axis=1)
    scales = from_bfloat16(to_bfloat16(np.maximum(largest / _MOST, LEAST_SCALE)))
    levels = np.rint(blocks / scales[:, None]).astype(np.int8)
    scales[~levels.any(axis=1)] = 0.0
    return to_bfloat16(scales).tobytes(), levels.reshape(-1)[: len(flat)].tobytes()
