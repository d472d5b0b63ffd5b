"""int8 with a scale for each block: how far off a value may be, and what never happens."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.blocks import GRAIN
from isthmus.codec import (
    F32,
    LEAST_SCALE,
    MOST_SCALE,
    SCALE_BLOCK,
    SCALE_BYTES,
    decode,
    decode_int8,
    decode_scales,
    encode,
    num_scales,
)
from isthmus.contribution import Encoding
from tests.quantized import quantized
from tests.rosters import values
from tests.unit.test_codec import bit_patterns

MOST = float(np.finfo(np.float32).max)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def apart(data: bytes, count: int) -> tuple[F32, np.ndarray]:
    """Scales and int8 of one tensor's bytes."""
    edge = SCALE_BYTES * num_scales(count)
    return decode_scales(data[:edge]), np.frombuffer(data[edge:], np.int8)


def require_kept(numbers: F32) -> None:
    """Fails unless these values are encoded as the protocol says, near enough, and to the same bytes once more."""
    data = encode(numbers, Encoding.INT8)
    scales, levels = apart(data, len(numbers))
    decoded = decode(data, Encoding.INT8)
    steps = np.repeat(scales, SCALE_BLOCK)[: len(numbers)].astype(np.float64)

    off = np.abs(numbers.astype(np.float64) - decoded)  # exact: both are short floats of nearly the same size
    assert (off <= np.where(steps > 0, steps, LEAST_SCALE) / 2).all()
    assert decoded.tobytes() == (levels.astype(np.float64) * steps).astype(np.float32).tobytes()
    assert levels.min() >= -127
    assert encode(decoded, Encoding.INT8) == data


@settings(max_examples=200, deadline=None)
@given(numbers=st.lists(FINITE, min_size=1, max_size=40), lead=st.sampled_from([0, 1, 1000, 1023, 1024, 2030]))
def test_no_value_is_off_by_more_than_half_its_scale(numbers: list[float], lead: int) -> None:
    """Any finite values, wherever a block ends among them, come back within half a scale, and then never change."""
    require_kept(np.concatenate([values("lead", lead), np.array(numbers, np.float32)]))


def test_every_size_of_number_is_kept() -> None:
    """Numbers of every exponent, next to each other and mixed, obey the same bound."""
    numbers = bit_patterns()
    numbers = numbers[np.isfinite(numbers)]

    require_kept(numbers)
    require_kept(np.random.default_rng(0).permutation(numbers))


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 1025, 1026, 2048, 5001])
def test_bytes_are_those_of_the_definition(count: int) -> None:
    """Scales and values are what torch makes of the same numbers by the protocol's words."""
    numbers = values(f"int8-{count}", count, scale=0.03)
    levels, scales = quantized(torch.from_numpy(numbers.copy()))

    data = encode(numbers, Encoding.INT8)

    assert data == scales.view(torch.uint8).numpy().tobytes() + levels.numpy().tobytes()
    assert len(data) == count + SCALE_BYTES * num_scales(count)
    assert len(decode(data, Encoding.INT8)) == count


@pytest.mark.parametrize(
    ("numbers", "scale", "levels"),
    [
        pytest.param([0.0, -0.0], 0.0, [0, 0], id="zeros"),
        pytest.param([1e-45, -1e-45], 0.0, [0, 0], id="least subnormals"),
        pytest.param([2.0**-127, 0.0], 0.0, [0, 0], id="half the least scale"),
        pytest.param([2.0**-126, -(2.0**-127)], 2.0**-126, [1, 0], id="the least scale"),
        pytest.param([3e-39, 127 * 2.0**-126], 2.0**-126, [0, 127], id="subnormal beside normal"),
        pytest.param([MOST, -MOST, 0.0], float(MOST_SCALE), [127, -127, 0], id="largest float32"),
        pytest.param([1.0, -0.5, 0.25], 0.00787353515625, [127, -64, 32], id="powers of two"),
        pytest.param([127.0, 0.5, 1.5, 2.5, -0.5], 1.0, [127, 0, 2, 2, 0], id="ties to even"),
    ],
)
def test_edges(numbers: list[float], scale: float, levels: list[int]) -> None:
    """Where a float32 or a scale ends, the bytes are these."""
    found = apart(encode(np.array(numbers, np.float32), Encoding.INT8), len(numbers))

    assert [scale] == found[0].tolist()
    assert levels == found[1].tolist()


def test_largest_of_a_block_is_127() -> None:
    """However the scale was rounded, a block above the least scale uses all its levels and none beyond."""
    largest = (np.arange(2**23, dtype=np.uint32)[:: 2**11 - 1] | np.uint32(0x3F800000)).view(np.float32)
    blocks = np.zeros((len(largest), SCALE_BLOCK), np.float32)
    blocks[:, 7] = largest
    _, levels = apart(encode(blocks, Encoding.INT8), blocks.size)

    assert {127} == set(levels[7::SCALE_BLOCK].tolist())


def test_ranges_are_the_whole() -> None:
    """A run of blocks decodes by itself to what it is within the whole, bit for bit."""
    count = 5 * SCALE_BLOCK + 77
    data = encode(values("ranges", count), Encoding.INT8)
    edge = SCALE_BYTES * num_scales(count)
    expected = decode(data, Encoding.INT8)

    for first in range(6):
        for last in range(first + 1, 7):
            start, end = first * SCALE_BLOCK, min(last * SCALE_BLOCK, count)
            scales = data[SCALE_BYTES * first : SCALE_BYTES * last][: edge - SCALE_BYTES * first]
            run = decode_int8(data[edge + start : edge + end], scales=scales)
            assert run.tobytes() == expected[start:end].tobytes()


def test_grain_divides_no_block() -> None:
    """Ranges that the aggregator reads begin and end where scales do."""
    assert GRAIN % SCALE_BLOCK == 0
