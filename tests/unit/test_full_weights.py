"""Full weights are told from deltas, and no delta is taken for full weights."""

import numpy as np
import pytest

from aggregator.admission.full_weights import likeness, sampled_tensors
from aggregator.admission.norms import NormMeter
from isthmus.codec import encode_tensors
from isthmus.contribution import READABLE, Encoding
from isthmus.payload import header_bytes, spans
from isthmus.spec import ProjectorSpec, spec_of

Tensors = dict[str, np.ndarray]


def projector(seed: int, scale: float = 0.02) -> Tensors:
    """A projector as it is initialised: normal weights, zero biases, a layer norm of ones."""
    generator = np.random.default_rng(seed)
    return {
        "linear_1.bias": np.zeros(96),
        "linear_1.weight": generator.normal(0, scale, (96, 700)),
        "linear_2.weight": generator.normal(0, scale, (96, 96)),
        "norm.weight": np.ones(96),
    }


def encoded(tensors: Tensors, encoding: Encoding) -> bytes:
    """The values alone, in the spec's order."""
    return b"".join(encode_tensors((tensors[name].astype(np.float32) for name in sorted(tensors)), encoding))


def is_full_weights(payload: Tensors, base: Tensors, encoding: Encoding = Encoding.FP32) -> bool:
    """What the recogniser says of a payload beside a base projector."""
    spec = spec_of(payload)
    meter = NormMeter(spans(spec, encoding), encoding, sampled=sampled_tensors(spec))
    meter.feed(memoryview(encoded(payload, encoding)))
    stored = header_bytes(spec, Encoding.FP32) + encoded(base, Encoding.FP32)
    found = likeness(meter.samples, spec, lambda start, size: stored[start : start + size])
    return found.is_full_weights(meter.l2_norm)


def plus(base: Tensors, delta: Tensors, share: float = 1.0) -> Tensors:
    """Tensor by tensor, base + share * delta."""
    return {name: base[name] + share * delta[name] for name in base}


@pytest.mark.parametrize("encoding", READABLE)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_trained_weights_are_recognised(share: float, encoding: Encoding) -> None:
    """Weights are recognised untrained, trained a little and trained a lot, in every encoding."""
    base = projector(0)

    assert is_full_weights(plus(base, projector(1), share), base, encoding)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.002, 0.02, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_deltas_are_not_taken_for_weights(seed: int, scale: float) -> None:
    """A delta of any size, that of the projector included, is none: it does not point the projector's way."""
    delta = projector(seed + 1, scale)
    delta["norm.weight"] = np.random.default_rng(seed).normal(0, 0.1, 96)

    assert not is_full_weights(delta, projector(0))


@pytest.mark.parametrize("share", [-1.0, -0.1, 0.1, 0.4])
def test_delta_along_the_projector_is_not_taken_for_weights(share: float) -> None:
    """Shrinking the projector by any share (weight decay) or growing it by less than half is training."""
    base = projector(0)

    assert not is_full_weights(plus({name: np.zeros_like(v) for name, v in base.items()}, base, share), base)


def test_nothing_is_like_a_projector_of_zeros() -> None:
    """A base of zeros has no direction, so every delta is one."""
    zeros = {name: np.zeros_like(values) for name, values in projector(0).items()}

    assert not is_full_weights(projector(1), zeros)


def test_few_values_prove_nothing() -> None:
    """A projector of a handful of values may be doubled: that two small tensors agree is chance."""
    base = {"a": np.ones(6)}

    assert not is_full_weights(base, base)


def test_only_the_largest_tensors_are_read() -> None:
    """Whatever the number of tensors, the base is read once for its header and once for each of eight tensors."""
    spec = ProjectorSpec(tuple(spec_of({f"t{i:02}": np.zeros(i + 1) for i in range(40)}).tensors))

    assert sampled_tensors(spec) == {f"t{i}" for i in range(32, 40)}
