"""Battery A and B over the wire: payloads that nobody honest sends, pushed to a real aggregator over mutual TLS.

Each is refused with its reason and its check, drops what was staged, is on record once, and touches no aggregate.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from isthmus import errors
from isthmus.errors import IsthmusError
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.v1 import projector_pb2
from tests.hostile.battery.site import Site
from tests.hostile.forged import DATA, A, B, delta_of, payload_of
from tests.hostile.header_cases import CASES as HEADER_CASES
from tests.hostile.schema_cases import SCHEMA_CASES
from tests.serving import Delta, Silo, refusal

ZEROS = (np.zeros((2, 3)), np.zeros(3))


@dataclass(frozen=True)
class Case:
    """One hostile push.

    Attributes:
        name: Its id in the battery, and what it is.
        payload: Its bytes.
        expected: What it is refused with.
        check: The check that finds it; "": not named.
        fields: Header fields that differ from an honest silo's.
    """

    name: str
    payload: bytes
    expected: type[IsthmusError]
    check: str = ""
    fields: dict[str, object] = field(default_factory=dict)


def spike(value: float, index: int = 0) -> bytes:
    """A delta of zeros but for one value."""
    flat = np.zeros(9, np.float32)
    flat[index] = value
    return delta_of((flat[:6].reshape(2, 3), flat[6:]))


CASES = [
    *(
        Case(
            name,
            payload,
            errors.PayloadMalformed,
            check,
        )
        for name, payload, check in HEADER_CASES
        if len(payload) <= len(payload_of({"a": A, "b": B}, DATA)) + (256 << 10)
    ),
    *(
        Case(f"{name[:3]}-oversized: {name[4:]}", payload, errors.PayloadTooLarge)
        for name, payload, check in HEADER_CASES
        if len(payload) > len(payload_of({"a": A, "b": B}, DATA)) + (256 << 10)
    ),
    *(
        Case(name, payload, errors.PayloadMalformed if check == "ST_NAME" else errors.SpecMismatch, check)
        for name, payload, check in SCHEMA_CASES
    ),
    Case("B08-other encoding in the header", delta_of(ZEROS), errors.HeaderInvalid, "ENCODING", {"encoding": "fp16"}),
    *(Case(f"B09-NaN at value {at}", spike(np.nan, at), errors.DeltaNotFinite, "NONFINITE") for at in (0, 5, 8)),
    Case("B10-infinity", spike(np.inf), errors.DeltaNotFinite, "NONFINITE"),
    Case("B10-minus infinity", spike(-np.inf), errors.DeltaNotFinite, "NONFINITE"),
    Case("B11-float32 norm overflows", spike(1e20), errors.DeltaNormExceeded, "NORM_EXCEEDED"),
    Case("B12-all subnormal", spike(1e-40), errors.DeltaNormTooSmall, "NORM_BELOW_FLOOR"),
    Case(
        "B13-just over the limit",
        spike(float(np.nextafter(np.float32(100), np.float32(101)))),
        errors.DeltaNormExceeded,
    ),
    Case("B15-zeros", spike(0.0), errors.DeltaNormTooSmall),
    Case("B15-minus zeros", spike(-0.0), errors.DeltaNormTooSmall),
    *(
        Case(f"B19-num_examples {count}", spike(1.0), errors.NumExamplesOutOfRange, "", {"num_examples": count})
        for count in (0, 1_000_001, 2**53 + 1, 2**64 - 1)
    ),
    Case("B20-num_examples missing", spike(1.0), errors.NumExamplesOutOfRange, "", {"num_examples": 0}),
    *(
        Case(f"B22-{what}", spike(1.0), errors.HeaderInvalid, "", {"metrics": metrics})
        for what, metrics in (
            ("NaN metric", {"loss": float("nan")}),
            ("infinite metric", {"loss": float("-inf")}),
            ("65 metrics", {f"m{number}": 0.0 for number in range(65)}),
            ("10,000 metrics", {f"m{number}": 0.0 for number in range(10_000)}),
            ("metric's name of 1 MB", {"m" * 1_000_000: 0.0}),
            ("metric's name with a newline", {"loss\n": 0.0}),
        )
    ),
    *(
        Case(f"B23-{field_name} {what}", spike(1.0), errors.HeaderInvalid, "", {field_name: digest})
        for field_name in ("payload_digest", "base_digest", "spec_fingerprint")
        for what, digest in (
            ("in hex", hashlib.sha256().hexdigest().encode()),
            ("of 31 bytes", bytes(31)),
            ("missing", b""),
        )
    ),
    Case("B24-other bytes than announced", spike(1.0), errors.PayloadDigestMismatch, "", {"payload_digest": bytes(32)}),
]


@pytest.fixture(scope="module")
def silo(site: Site) -> Silo:
    """The hostile silo, of a federation whose limits the cases are about."""
    site.federation("payloads")
    return site.silo("mallory", federation="payloads")


@pytest.fixture(scope="module")
def template(silo: Silo) -> Delta:
    """An honest push, which every case bends."""
    return silo.delta(payload=spike(1.0))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_case(site: Site, silo: Silo, template: Delta, case: Case) -> None:
    """It is refused for the true reason, leaves no byte and no contribution, and the silo goes on."""
    announced = {"payload_digest": hashlib.sha256(case.payload).digest(), "payload_size_bytes": len(case.payload)}
    hostile = Delta(template.header, case.payload, template.credentials).but(**{**announced, **case.fields})
    before = site.refusals("payloads", "mallory")

    error = refusal(lambda: silo.push(hostile))

    assert case.expected is type(error), str(error)
    assert case.check in ("", error.details["check"])
    assert str(error).isascii()
    if len(hostile.header.payload_digest) == 32:
        assert 0 == silo.push_status(hostile).committed_bytes
    assert not [name for name in site.written("payloads") if name.startswith("rounds/")]
    assert before + (before < 256) == site.refusals("payloads", "mallory")
    assert 1 == silo.round().round


def test_b13_norm_at_the_limit_is_admitted(site: Site) -> None:
    """B13: a delta whose norm is exactly the limit is admitted over the wire, too."""
    site.federation("limit")
    silo = site.silo("exact", federation="limit")

    assert 100.0 == silo.push(silo.delta(payload=spike(100.0))).l2_norm


@pytest.mark.parametrize(
    "what", ["B16-the last global step sent back", "B18-trained from another base than the header says"]
)
def test_what_one_delta_cannot_show_is_admitted(site: Site, what: str) -> None:
    """Within the limits a delta like any other: the threat model says that this is not protected from."""
    name = f"undetectable-{what[:3].lower()}"
    site.federation(name)
    silo = site.silo("quiet", federation=name)

    assert silo.push(silo.delta(payload=spike(-2.0))).l2_norm == 2.0


def test_b14_tensor_over_its_own_limit_is_refused(site: Site) -> None:
    """B14: a spike in one tensor is refused by name though the whole delta is within its limit."""
    site.federation("tensors", extra="admission.max_tensor_l2_norm = 50.0")
    silo = site.silo("spiky", federation="tensors")

    error = refusal(lambda: silo.push(silo.delta(payload=spike(60.0, 8))))

    assert ("TENSOR_NORM_EXCEEDED", "b") == (error.details["check"], error.details["tensor"])


def test_b17_weights_instead_of_a_delta_are_recognised(site: Site) -> None:
    """B17: the most common honest mistake is told as what it is, also where the norm limit would let it pass."""
    spec = ProjectorSpec((TensorSpec("bias", "F32", (64,)), TensorSpec("weight", "F32", (64, 512))))
    weights = delta_of((np.zeros(64), np.random.default_rng(0).normal(0, 0.02, (64, 512))), spec)
    site.federation("weights", projector=weights)
    silo = site.silo("honest", federation="weights")

    error = refusal(lambda: silo.push(silo.delta(payload=weights)))

    assert "looks like full weights instead of a delta" in str(error)


def test_b21_nothing_of_training_is_claimed() -> None:
    """B21: a header says nothing of steps, epochs or epsilon, so there is no claim to be out of range."""
    names = {name.name for name in projector_pb2.ContributionHeader.DESCRIPTOR.fields}
    assert not [name for name in names if "step" in name or "epoch" in name or "epsilon" in name]
