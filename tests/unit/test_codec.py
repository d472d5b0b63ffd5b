"""The encodings, with torch as their oracle."""

import numpy as np
import pytest
import torch

from isthmus.codec import SCALE_BYTES, decode, encode
from isthmus.contribution import READABLE, Encoding
from isthmus.payload import SCALED, values_bytes
from tests.quantized import FLOATING, TORCH_TYPES
from tests.rosters import values

ENCODINGS = READABLE


def torch_bytes(array: np.ndarray, encoding: Encoding) -> bytes:
    """What torch makes of these values."""
    return torch.from_numpy(array.copy()).to(TORCH_TYPES[encoding]).view(torch.uint8).numpy().tobytes()


def bit_patterns() -> np.ndarray:
    """Float32 of every sign, exponent and upper mantissa, with lower halves around each point where rounding turns."""
    upper = np.arange(2**16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (upper[:, None] | lower).ravel().view(np.float32)


@pytest.mark.parametrize("encoding", FLOATING)
def test_encode_rounds_as_torch_does(encoding: Encoding) -> None:
    """Every kind of number, ties and subnormals included, becomes the bytes that torch makes of it; NaN stays NaN."""
    numbers = bit_patterns()
    numbers = numbers[~np.isnan(numbers)]

    assert encode(numbers, encoding) == torch_bytes(numbers, encoding)


@pytest.mark.parametrize("encoding", FLOATING)
def test_encode_keeps_nan(encoding: Encoding) -> None:
    """No NaN turns into a number or infinity by rounding."""
    numbers = bit_patterns()
    numbers = numbers[np.isnan(numbers)]

    assert np.isnan(decode(encode(numbers, encoding), encoding)).all()


@pytest.mark.parametrize("encoding", [Encoding.BF16, Encoding.FP16])
def test_decode_is_exact(encoding: Encoding) -> None:
    """All 65,536 values of a 16-bit encoding decode to torch's float32, bit for bit where they are numbers."""
    data = np.arange(2**16, dtype="<u2").tobytes()
    expected = torch.frombuffer(bytearray(data), dtype=TORCH_TYPES[encoding]).to(torch.float32).numpy()

    decoded = decode(data, encoding)

    numbers = ~np.isnan(expected)
    assert decoded.dtype == np.float32
    assert decoded[numbers].tobytes() == expected[numbers].tobytes()
    assert np.isnan(decoded[~numbers]).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encoded_values_survive_a_second_round(encoding: Encoding) -> None:
    """Values that were encoded once are encoded again to the same bytes."""
    once = encode(values("codec", 1000), encoding)

    assert encode(decode(once, encoding, num_values=1000), encoding) == once
    assert len(once) == values_bytes(1000, encoding) + (SCALE_BYTES if encoding in SCALED else 0)


@pytest.mark.parametrize("encoding", [Encoding.BF16, Encoding.FP16])
def test_encode_shows_what_does_not_fit(encoding: Encoding) -> None:
    """A number beyond the encoding's range becomes infinity, which whoever sends it can see."""
    assert np.isinf(decode(encode(np.array([3.4e38], np.float32), encoding), encoding)).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encode_writes_row_by_row(encoding: Encoding) -> None:
    """A transposed matrix is written in its own row-major order, not in its memory's."""
    matrix = values("matrix", 6).reshape(2, 3).T

    assert encode(matrix, encoding) == encode(np.ascontiguousarray(matrix).ravel(), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decode_reads_any_buffer(encoding: Encoding) -> None:
    """Bytes, bytearrays and views of either decode alike."""
    data = encode(values("buffer", 5), encoding)

    expected = decode(data, encoding, num_values=5).tolist()

    assert decode(bytearray(data), encoding, num_values=5).tolist() == expected
    assert decode(memoryview(data), encoding, num_values=5).tolist() == expected
