"""Norms are what their definition says, to the last bit."""

import math

import numpy as np
import pytest

from aggregator.admission.norms import BLOCK_ELEMENTS, SAMPLE_ELEMENTS, NormMeter
from isthmus.codec import decode, encode, encode_tensors
from isthmus.contribution import READABLE, Encoding
from isthmus.payload import spans
from isthmus.spec import ProjectorSpec, TensorSpec

SPEC = ProjectorSpec(
    (TensorSpec("a", "F32", (2, BLOCK_ELEMENTS + 11)), TensorSpec("b", "F32", ()), TensorSpec("c", "F32", (7,)))
)


def values_of(name: str) -> np.ndarray:
    """Fixed values of widely different sizes."""
    shape = next(tensor.shape for tensor in SPEC.tensors if tensor.name == name)
    generator = np.random.default_rng(len(name) + ord(name))
    return (generator.normal(size=shape) * 10.0 ** generator.integers(-6, 3, shape)).astype(np.float32)


def decoded_of(tensor: TensorSpec, encoding: Encoding) -> np.ndarray:
    """The values as the aggregator sees them."""
    return decode(encode(values_of(tensor.name), encoding), encoding, num_values=tensor.num_elements)


def measured(encoding: Encoding, sampled: frozenset[str] = frozenset()) -> NormMeter:
    """The meter after all values."""
    meter = NormMeter(spans(SPEC, encoding), encoding, sampled=sampled)
    meter.feed(memoryview(b"".join(encode_tensors((values_of(tensor.name) for tensor in SPEC.tensors), encoding))))
    return meter


def defined(values: np.ndarray) -> float:
    """The sum of squares exactly as documented."""
    flat = values.reshape(-1).astype(np.float64)
    total = 0.0
    for start in range(0, len(flat), BLOCK_ELEMENTS):
        total += float(np.add.reduce(np.square(flat[start : start + BLOCK_ELEMENTS])))
    return total


@pytest.mark.parametrize("encoding", READABLE)
def test_norms_are_bit_for_bit_their_definition(encoding: Encoding) -> None:
    """Each tensor's norm and the whole's are the documented sums, with no digit of difference."""
    decoded = {tensor.name: decoded_of(tensor, encoding) for tensor in SPEC.tensors}
    meter = measured(encoding)

    assert meter.tensor_l2_norms == {name: math.sqrt(defined(values)) for name, values in decoded.items()}
    assert meter.l2_norm == math.sqrt(sum(defined(values) for values in decoded.values()))


@pytest.mark.parametrize("encoding", READABLE)
def test_norms_are_true(encoding: Encoding) -> None:
    """They agree with an exactly rounded sum to within a few units in the last place."""
    decoded = [decoded_of(tensor, encoding).astype(float) for tensor in SPEC.tensors]

    assert measured(encoding).l2_norm == pytest.approx(math.sqrt(math.fsum(np.concatenate(decoded) ** 2)), rel=1e-14)


def test_sample_is_spread_over_the_first_block() -> None:
    """The sample of a large tensor is every 16th value of its first block; that of a small one, all of it."""
    samples = measured(Encoding.FP32, frozenset({"a", "c"})).samples

    assert samples["a"].values.tolist() == values_of("a").reshape(-1)[:BLOCK_ELEMENTS:16].tolist()
    assert samples["a"].places.tolist() == list(range(0, BLOCK_ELEMENTS, 16))
    assert len(samples["a"].values) == SAMPLE_ELEMENTS == samples["a"].share * 2 * (BLOCK_ELEMENTS + 11)
    assert samples["c"].values.tolist() == values_of("c").tolist()
    assert samples["c"].share == 1.0
    assert "b" not in samples


def test_sample_of_top_k_is_all_that_its_first_block_keeps() -> None:
    """Where 1 value of 16 is kept, evenly spread places would nearly all hold 0: the kept ones are the sample."""
    found = measured(Encoding.TOP_K, frozenset({"a"})).samples["a"]
    block = decoded_of(SPEC.tensors[0], Encoding.TOP_K)[:BLOCK_ELEMENTS]

    assert found.places.tolist() == np.flatnonzero(block).tolist()
    assert found.values.tolist() == block[block != 0].tolist()
    assert len(found.values) == SAMPLE_ELEMENTS
    assert found.share == BLOCK_ELEMENTS / SPEC.tensors[0].num_elements
