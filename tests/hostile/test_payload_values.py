"""Battery B: tensors and values that would spoil an aggregate, and what a header may claim.

What the battery asks for and admission does not judge has a test too, which says so: B12 and B15 (a delta of almost
nothing), B16 (the last global step sent back), B18 (trained from another base than the header says).
"""

import dataclasses
import hashlib
import math

import numpy as np
import pytest

from aggregator.admission.norms import BLOCK_ELEMENTS
from aggregator.admission.payload import LEAST_L2_NORM
from isthmus.contribution import ContributionHeader, Encoding
from isthmus.errors import (
    DeltaNormExceeded,
    DeltaNormTooSmall,
    DeltaNotFinite,
    HeaderInvalid,
    NumExamplesOutOfRange,
    PayloadDigestMismatch,
    PayloadMalformed,
    SpecMismatch,
)
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.hostile.forged import DATA, SPEC, A, B, delta_of, federation_of, payload_of, refusal, verdict
from tests.hostile.schema_cases import SCHEMA_CASES

ZEROS = (np.zeros((2, 3)), np.zeros(3))
ONES = (np.ones((2, 3)), np.ones(3))
WIDE = ProjectorSpec((TensorSpec("a", "F32", (BLOCK_ELEMENTS + 7,)), TensorSpec("b", "F32", (2, BLOCK_ELEMENTS))))
HUGE = {"max_l2_norm": 1e300}


def with_value(index: int, bits: bytes, *, spec: ProjectorSpec = WIDE, encoding: Encoding = Encoding.FP32) -> bytes:
    """A delta of zeros but for one value, counted over the whole delta, given as its bytes."""
    payload = bytearray(delta_of([np.zeros(tensor.shape) for tensor in spec.tensors], spec, encoding))
    start = len(payload) - spec.num_elements * len(bits) + index * len(bits)
    payload[start : start + len(bits)] = bits
    return bytes(payload)


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in SCHEMA_CASES])
def test_other_tensors_are_refused(payload: bytes, check: str) -> None:
    """Tensors that are not exactly the spec's are refused before any value of them is looked at."""
    error = refusal(payload)

    assert type(error) is (PayloadMalformed if check == "ST_NAME" else SpecMismatch)
    assert error.details["check"] == check
    assert error.details["tensor"]


def test_b08_other_encoding_in_the_header_is_refused() -> None:
    """A header of another encoding than the federation's is refused before its payload: nothing is cast silently."""
    error = refusal(delta_of(ZEROS, encoding=Encoding.FP16), encoding=Encoding.FP16)

    assert (type(error), error.details["check"]) == (HeaderInvalid, "ENCODING")


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(0, id="B09-first value"),
        pytest.param(BLOCK_ELEMENTS - 1, id="B09-last of a block"),
        pytest.param(BLOCK_ELEMENTS, id="B09-first of a block"),
        pytest.param(BLOCK_ELEMENTS + 6, id="B09-last of a tensor"),
        pytest.param(WIDE.num_elements - 1, id="B09-last value"),
    ],
)
def test_b09_nan_is_refused_wherever_it_is(index: int) -> None:
    """One NaN among many values is found at its place."""
    error = refusal(with_value(index, np.float32(np.nan).tobytes()), spec=WIDE)

    tensor, element = ("a", index) if index < BLOCK_ELEMENTS + 7 else ("b", index - BLOCK_ELEMENTS - 7)
    assert type(error) is DeltaNotFinite
    assert (error.details["tensor"], error.details["element"]) == (tensor, str(element))


@pytest.mark.parametrize(
    ("encoding", "bits"),
    [
        pytest.param(Encoding.FP32, "0000c07f", id="B09-quiet NaN"),
        pytest.param(Encoding.FP32, "efbeadff", id="B09-NaN with a payload"),
        pytest.param(Encoding.FP32, "0100807f", id="B09-signalling NaN"),
        pytest.param(Encoding.BF16, "c07f", id="B09-bf16 NaN"),
        pytest.param(Encoding.BF16, "817f", id="B09-bf16 signalling NaN"),
        pytest.param(Encoding.FP16, "007e", id="B09-fp16 NaN"),
        pytest.param(Encoding.FP16, "017c", id="B09-fp16 signalling NaN"),
        pytest.param(Encoding.FP32, "0000807f", id="B10-infinity"),
        pytest.param(Encoding.FP32, "000080ff", id="B10-minus infinity"),
        pytest.param(Encoding.BF16, "807f", id="B10-bf16 infinity"),
        pytest.param(Encoding.BF16, "80ff", id="B10-bf16 minus infinity"),
        pytest.param(Encoding.FP16, "007c", id="B10-fp16 infinity"),
        pytest.param(Encoding.FP16, "00fc", id="B10-fp16 minus infinity"),
    ],
)
def test_non_finite_value_is_refused(encoding: Encoding, bits: str) -> None:
    """NaN and infinity are refused in every encoding, and numpy does not as much as warn of them."""
    error = refusal(
        with_value(4, bytes.fromhex(bits), spec=SPEC, encoding=encoding), federation=federation_of(encoding, **HUGE)
    )

    assert (type(error), error.details["check"], error.details["element"]) == (DeltaNotFinite, "NONFINITE", "4")


@pytest.mark.parametrize("value", [1e20, -1e20, float(np.finfo(np.float32).max)])
def test_b11_value_whose_float32_norm_overflows_is_refused(value: float) -> None:
    """Finite values whose float32 norm would be infinite have their true norm measured, and refused."""
    error = refusal(delta_of((np.full((2, 3), value), np.zeros(3))))

    assert (type(error), error.details["check"]) == (DeltaNormExceeded, "NORM_EXCEEDED")
    assert float(error.details["measured"]) == pytest.approx(abs(float(np.float32(value))) * math.sqrt(6))


def test_b12_subnormal_values_are_measured_and_refused() -> None:
    """Values whose float32 norm would vanish have their true norm measured, which is too small to say anything."""
    payload = delta_of((np.full((2, 3), 1e-40), np.zeros(3)))
    true_norm = pytest.approx(float(np.float32(1e-40)) * math.sqrt(6))

    assert verdict(payload, federation=federation_of(allow_zero=True)).l2_norm == true_norm
    with pytest.raises(DeltaNormTooSmall) as caught:
        verdict(payload)
    assert ("NORM_BELOW_FLOOR", true_norm) == (caught.value.details["check"], float(caught.value.details["measured"]))


def test_b12_norm_at_the_floor_is_admitted() -> None:
    """A delta of exactly the least norm is admitted, and one of half of it is not."""
    least = np.zeros((2, 3))
    least[1, 2] = LEAST_L2_NORM

    assert verdict(delta_of((least, np.zeros(3)))).l2_norm == LEAST_L2_NORM
    with pytest.raises(DeltaNormTooSmall):
        verdict(delta_of((least / 2, np.zeros(3))))


def test_b13_norm_at_the_limit_is_admitted() -> None:
    """A delta whose norm is exactly the limit is admitted, and measured exactly."""
    payload = delta_of((np.array([[3, 4, 0], [0, 0, 0]]), np.zeros(3)))

    assert verdict(payload, federation=federation_of(max_l2_norm=5.0)).l2_norm == 5.0


def test_b13_norm_just_over_the_limit_is_refused() -> None:
    """A norm over the limit by one part in 10^12 is refused, and the sentence shows that the two differ."""
    payload = delta_of((np.array([[3, 4, 0], [0, 0, 0]]), np.zeros(3)))

    error = refusal(payload, federation=federation_of(max_l2_norm=5.0 / (1 + 1e-12)))

    assert (type(error), error.details["check"]) == (DeltaNormExceeded, "NORM_EXCEEDED")
    assert "5.0" in str(error)
    assert "4.99999999999499" in str(error)


def test_b14_tensor_norm_over_its_own_limit_is_refused() -> None:
    """A spike in one tensor is refused by name though the whole delta is within its limit."""
    payload = delta_of((np.zeros((2, 3)), np.array([0, 3, 0])))

    error = refusal(payload, federation=federation_of(max_l2_norm=10.0, max_tensor_l2_norm=2.0))

    assert type(error) is DeltaNormExceeded
    assert error.details == {"check": "TENSOR_NORM_EXCEEDED", "tensor": "b", "measured": "3.0", "limit": "2.0"}


@pytest.mark.parametrize("zero", [pytest.param(0.0, id="B15-zeros"), pytest.param(-0.0, id="B15-minus zeros")])
def test_b15_zero_delta_is_refused_unless_allowed(zero: float) -> None:
    """Who learnt nothing earns nothing: zeros of either sign are refused, unless the federation allows them."""
    payload = delta_of((np.full((2, 3), zero), np.full(3, zero)))

    assert verdict(payload, federation=federation_of(allow_zero=True)).l2_norm == 0.0
    with pytest.raises(DeltaNormTooSmall, match=r"admission\.allow_zero"):
        verdict(payload)


@pytest.mark.parametrize("battery_id", ["B16-last step sent back", "B18-other base than it says"])
def test_b16_b18_what_one_delta_cannot_show_is_admitted(battery_id: str) -> None:
    """A replayed step, or a delta from another base under the right digest, looks like any delta within the limits."""
    assert verdict(delta_of((-np.ones((2, 3)), np.ones(3)))).l2_norm == 3.0


@pytest.mark.parametrize(
    "scale", [pytest.param(1.0, id="B17-the weights"), pytest.param(1.1, id="B17-trained weights")]
)
@pytest.mark.parametrize("limit", [pytest.param(2.0, id="over the limit"), pytest.param(100.0, id="within the limit")])
def test_b17_full_weights_are_recognised(scale: float, limit: float) -> None:
    """Weights in place of a delta are refused whatever the norm limit, and the sentence says what to push instead."""
    spec = ProjectorSpec((TensorSpec("bias", "F32", (64,)), TensorSpec("weight", "F32", (64, 512))))
    generator = np.random.default_rng(0)
    weights = [np.zeros(64), generator.normal(0, 0.02, (64, 512))]
    base = delta_of(weights, spec)
    trained = [values * scale + generator.normal(0, 0.005, values.shape) for values in weights]

    error = refusal(
        delta_of(trained, spec),
        spec=spec,
        federation=federation_of(max_l2_norm=limit),
        read_base=lambda start, size: base[start : start + size],
    )

    assert (type(error), error.details["check"]) == (
        DeltaNormExceeded,
        "NORM_EXCEEDED" if limit == 2.0 else "FULL_WEIGHTS",
    )
    assert "looks like full weights instead of a delta" in str(error)
    assert "Push local - global" in str(error)


@pytest.mark.parametrize(
    "num_examples",
    [
        pytest.param(0, id="B19-zero"),
        pytest.param(-1, id="B19-negative"),
        pytest.param(1001, id="B19-over the limit"),
        pytest.param(2**53 + 1, id="B19-beyond 2^53"),
        pytest.param(True, id="B19-bool"),
        pytest.param(1.0, id="B19-float"),
        pytest.param(math.nan, id="B19-NaN"),
        pytest.param(None, id="B20-missing"),
    ],
)
def test_num_examples_out_of_range_is_refused(num_examples: object) -> None:
    """A weight that is no integer from 1 to the federation's limit is refused before any payload byte."""
    error = refusal(delta_of(ZEROS), federation=federation_of(max_num_examples=1000), num_examples=num_examples)

    assert (type(error), error.details["check"], error.details["limit"]) == (
        NumExamplesOutOfRange,
        "EXAMPLES_RANGE",
        "1000",
    )


@pytest.mark.parametrize("num_examples", [1, 1000])
def test_b19_num_examples_at_the_limits_are_admitted(num_examples: int) -> None:
    """The least and the largest weight are admitted."""
    federation = federation_of(max_num_examples=1000)

    assert verdict(delta_of(ONES), federation=federation, num_examples=num_examples).l2_norm == 3.0


def test_b21_header_claims_no_training() -> None:
    """Nothing of how a silo trained is claimed in a header, so there is no claim to be out of range."""
    fields = {field.name for field in dataclasses.fields(ContributionHeader)}

    assert {name for name in fields if "step" in name or "epoch" in name or "epsilon" in name} == set()


@pytest.mark.parametrize(
    "metrics",
    [
        pytest.param({f"m{i}": 0.0 for i in range(65)}, id="B22-65 metrics"),
        pytest.param({f"m{i}": 0.0 for i in range(10_000)}, id="B22-10,000 metrics"),
        pytest.param({"loss": math.nan}, id="B22-NaN"),
        pytest.param({"loss": -math.inf}, id="B22-infinity"),
        pytest.param({"loss": "0.1"}, id="B22-text"),
        pytest.param({"loss": True}, id="B22-bool"),
        pytest.param({"": 0.0}, id="B22-empty name"),
        pytest.param({"m" * 65: 0.0}, id="B22-name of 65 characters"),
        pytest.param({"m" * 1_000_000: 0.0}, id="B22-name of 1 MB"),
        pytest.param({"Loss\n": 0.0}, id="B22-name with a newline"),
        pytest.param({"held_out_loss": 1.0}, id="B22-evaluation without its samples"),
        pytest.param({"held_out_samples": 1.0}, id="B22-evaluation without its loss"),
        pytest.param({"held_out_loss": -0.1, "held_out_samples": 1.0}, id="B22-evaluation below 0"),
        pytest.param({"held_out_loss": 1e300, "held_out_samples": 1.0}, id="B22-evaluation beyond all bounds"),
        pytest.param({"held_out_loss": 1.0, "held_out_samples": 1e300}, id="B22-evaluation on too many samples"),
    ],
)
def test_metrics_out_of_range_are_refused(metrics: dict[str, float]) -> None:
    """Metrics are few, finite and plainly named, or the header is refused."""
    error = refusal(delta_of(ZEROS), metrics=metrics)

    assert (type(error), error.details["check"]) == (HeaderInvalid, "METRICS_RANGE")


def test_b22_metrics_at_the_limits_are_admitted() -> None:
    """64 metrics with names of 64 characters are admitted."""
    assert verdict(delta_of(ONES), metrics={f"{i:064}": 1e300 for i in range(64)}).l2_norm == 3.0


@pytest.mark.parametrize("field", ["payload_digest", "base_digest", "spec_fingerprint"])
@pytest.mark.parametrize(
    "digest",
    [
        pytest.param(hashlib.sha256().hexdigest().upper().encode(), id="B23-upper case hex"),
        pytest.param(hashlib.sha256().hexdigest()[:63].encode(), id="B23-63 hex digits"),
        pytest.param(b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", id="B23-base64"),
        pytest.param(b"", id="B23-missing"),
    ],
)
def test_b23_digest_in_another_format_is_refused(field: str, digest: bytes) -> None:
    """A digest that is not the 32 raw bytes is refused before any payload byte, whichever it is."""
    error = refusal(delta_of(ZEROS), **{field: digest})

    assert (type(error), error.details["check"]) == (HeaderInvalid, "DIGEST_FORMAT")
    assert field in str(error)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(payload_of({"a": A, "b": B}, DATA[:-1] + b"\x40"), id="B24-in a value"),
        pytest.param(payload_of({"b": B, "a": A}), id="B24-in the header"),
    ],
)
def test_b24_other_bytes_than_announced_are_refused(changed: bytes) -> None:
    """A payload that would be admitted but is not the one announced is refused by its digest."""
    announced = payload_of({"a": A, "b": B})

    error = refusal(changed, payload_digest=hashlib.sha256(announced).digest())

    assert (type(error), error.details["check"]) == (PayloadDigestMismatch, "DIGEST_MISMATCH")
