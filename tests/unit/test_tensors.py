"""Tensors to payload bytes and back, and what a contribution's header says of them."""

import hashlib
import math

import numpy as np
import pytest
import safetensors.torch
import torch

from isthmus.contribution import READABLE, Encoding
from isthmus.errors import DeltaNotFinite, HeaderInvalid, NumExamplesOutOfRange, PayloadMalformed, SpecMismatch
from isthmus.federation import FederationState
from isthmus.round import Round
from isthmus.spec import spec_of
from isthmus.tensors import Payload, contribution_of, decode, encode
from tests.plans import PLAN
from tests.quantized import library_tensors

TENSORS = {
    "linear.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "linear.bias": torch.tensor([1e-30, -2.5, 3.0]),
    "scale": torch.tensor(0.1),
}
SPEC = spec_of(TENSORS)


def whole(payload: Payload) -> bytes:
    """A payload's bytes in one piece."""
    return b"".join(payload.parts)


def open_round(encoding: Encoding = Encoding.FP32) -> Round:
    """Round 3 of a federation of these tensors."""
    return Round(
        federation="tiny",
        number=3,
        state=FederationState.RUNNING,
        base_digest=b"\1" * 32,
        base_size_bytes=encode(TENSORS, SPEC, Encoding.FP32).size_bytes,
        spec=SPEC,
        encoding=encoding,
        plan=PLAN,
        num_rounds=8,
        max_num_examples=1000,
    )


@pytest.mark.parametrize("encoding", READABLE)
def test_payload_is_what_the_safetensors_library_writes(encoding: Encoding) -> None:
    """Byte for byte, a payload is the library's file of the same tensors in the encoding's dtype."""
    expected = safetensors.torch.save(library_tensors(TENSORS, encoding))

    payload = encode(TENSORS, SPEC, encoding)

    assert expected == whole(payload)
    assert (len(expected), hashlib.sha256(expected).digest()) == (payload.size_bytes, payload.digest)


def test_projector_comes_back_bit_for_bit() -> None:
    """Decoding what was encoded gives the same names, shapes and values."""
    data = bytearray(whole(encode(TENSORS, SPEC, Encoding.FP32)))

    tensors = decode(data, SPEC)

    assert {name: tensor.shape for name, tensor in TENSORS.items()} == {n: t.shape for n, t in tensors.items()}
    assert all(torch.equal(TENSORS[name], tensors[name]) for name in TENSORS)


def test_encoding_copies_no_float32_value() -> None:
    """The parts of a float32 payload share memory with the tensors: a large delta is held once."""
    tensors = {"w": torch.zeros(4)}
    payload = encode(tensors, spec_of(tensors), Encoding.FP32)

    tensors["w"][0] = 1.0

    assert torch.tensor([1.0, 0, 0, 0]).numpy().tobytes() == bytes(payload.parts[1])


def test_transposed_tensor_travels_in_its_own_order() -> None:
    """A tensor whose memory is not in row order is encoded as what it means, not as it lies."""
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3).T
    spec = spec_of({"w": weight})

    tensors = decode(bytearray(whole(encode({"w": weight}, spec, Encoding.FP32))), spec)

    assert weight.tolist() == tensors["w"].tolist()


def test_overflow_of_the_encoding_is_found_here() -> None:
    """A value that float16 cannot hold is refused before it travels."""
    tensors = {"w": torch.tensor([70_000.0])}

    with pytest.raises(DeltaNotFinite, match="encoded as fp16"):
        encode(tensors, spec_of(tensors), Encoding.FP16)


@pytest.mark.parametrize("cut", [0, 5, 8, 20, -1])
def test_half_a_projector_is_refused(cut: int) -> None:
    """Bytes that end early give an error, never tensors."""
    data = whole(encode(TENSORS, SPEC, Encoding.FP32))[:cut]

    with pytest.raises(PayloadMalformed):
        decode(bytearray(data), SPEC)


def test_projector_of_another_spec_is_refused() -> None:
    """A projector whose tensors are not the round's is refused by name."""
    other = {"w": torch.zeros(3)}

    with pytest.raises(SpecMismatch):
        decode(bytearray(whole(encode(other, spec_of(other), Encoding.FP32))), SPEC)


def test_contribution_holds_the_encoded_delta() -> None:
    """The header describes exactly the payload: its digest, size, encoding, and the base it was trained from."""
    local = {name: tensor + 0.5 for name, tensor in TENSORS.items()}

    header, payload = contribution_of(
        open_round(Encoding.BF16), local=local, base=TENSORS, num_examples=7, metrics={"train_loss": 2.5}
    )

    assert ("tiny", 3, 7, Encoding.BF16, {"train_loss": 2.5}) == (
        header.federation,
        header.round,
        header.num_examples,
        header.encoding,
        header.metrics,
    )
    assert (payload.digest, payload.size_bytes) == (header.payload_digest, header.payload_size_bytes)
    assert (b"\1" * 32, SPEC.fingerprint) == (header.base_digest, header.spec_fingerprint)
    assert {0.5} == set(safetensors.torch.load(whole(payload))["linear.weight"].flatten().tolist())


@pytest.mark.parametrize("num_examples", [0, -1, 1001, 1.5, True, math.nan, math.inf, "5", "many", None, [5]])
def test_weight_out_of_range_is_refused_here(num_examples: object) -> None:
    """A weight that the federation does not take, or that is none, is refused before anything is encoded."""
    with pytest.raises(NumExamplesOutOfRange, match="from 1 to 1000"):
        contribution_of(open_round(), local=TENSORS, base=TENSORS, num_examples=num_examples)


@pytest.mark.parametrize("num_examples", [7.0, np.int64(7), np.float32(7), torch.tensor(7)])
def test_weight_of_any_kind_of_number_is_taken(num_examples: object) -> None:
    """A whole number is a weight whichever library made it, and travels as a plain int."""
    header, _ = contribution_of(open_round(), local=TENSORS, base=TENSORS, num_examples=num_examples)

    assert (int, 7) == (type(header.num_examples), header.num_examples)


@pytest.mark.parametrize(
    "metrics",
    [
        {"Loss": 1.0},
        {"": 1.0},
        {"loss": math.nan},
        {f"m{i}": 0.0 for i in range(65)},
        {"loss": "low"},
        {"loss": None},
        {5: 1.0},
        {"held_out_loss": 1.0},
        {"held_out_loss": -1.0, "held_out_samples": 3},
    ],
)
def test_metrics_that_cannot_travel_are_refused_here(metrics: dict[str, float]) -> None:
    """A metric with a name or value that the protocol has no room for is refused before anything is sent."""
    with pytest.raises(HeaderInvalid, match=r"metric|Metric"):
        contribution_of(open_round(), local=TENSORS, base=TENSORS, num_examples=1, metrics=metrics)
