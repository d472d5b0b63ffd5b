"""Battery B25 to B27, judged by admission itself: scales and int8 that no encoder writes."""

import numpy as np
import pytest

from aggregator.admission.norms import BLOCK_ELEMENTS
from isthmus.codec import SCALE_BLOCK, SCALE_BYTES, num_scales
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import DeltaNormExceeded, HeaderInvalid, PayloadMalformed, SpecMismatch
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.hostile.forged import delta_of, federation_of, refusal, verdict
from tests.hostile.int8_cases import FORM_CASES, HONEST, SCALE_CASES, with_bytes
from tests.rosters import values

INT8 = federation_of(Encoding.INT8)
WIDE = ProjectorSpec(
    (TensorSpec("a", "F32", (BLOCK_ELEMENTS + SCALE_BLOCK + 7,)), TensorSpec("b", "F32", (3, SCALE_BLOCK)))
)
WIDE_VALUES = [values(tensor.name, tensor.num_elements).reshape(tensor.shape) for tensor in WIDE.tensors]


def test_honest_int8_is_admitted_at_its_decoded_norm() -> None:
    """What the battery bends is itself admitted, and its norm is that of the decoded values."""
    assert verdict(HONEST, federation=INT8).l2_norm == pytest.approx(np.sqrt(55 / 64 + 0.75), rel=2e-3)


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in SCALE_CASES])
@pytest.mark.parametrize("cuts", [(), range(1, len(HONEST))], ids=["at once", "byte by byte"])
def test_int8_that_no_encoder_writes_is_refused(payload: bytes, check: str, cuts: tuple[int, ...]) -> None:
    """Each is refused for what it is, with its tensor and block, however it is cut; none becomes a number."""
    error = refusal(payload, federation=INT8, cuts=cuts)

    assert (type(error), error.details["check"]) == (PayloadMalformed, check)
    assert error.details["tensor"] in ("a", "b")
    assert error.details["block"] == "0"


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in FORM_CASES])
def test_other_tensors_than_scales_and_values_are_refused(payload: bytes, check: str) -> None:
    """A payload whose scales are missing, extra, of another dtype, shape or place is refused by its header."""
    error = refusal(payload, federation=INT8)

    assert type(error) is (SpecMismatch if check.startswith("SCHEMA") else PayloadMalformed)
    assert error.details["check"] == check


@pytest.mark.parametrize(
    ("tensor", "block"), [("a", 0), ("a", BLOCK_ELEMENTS // SCALE_BLOCK), ("a", 65), ("b", 0), ("b", 2)]
)
def test_wrong_scale_is_found_where_it_is(tensor: str, block: int) -> None:
    """Of many scales the wrong one is named by tensor and block, before a value is looked at."""
    payload = bytearray(delta_of(WIDE_VALUES, WIDE, Encoding.INT8))
    start = len(payload) - WIDE.num_elements - SCALE_BYTES * (num_scales(WIDE.tensors[0].num_elements) + 3)
    place = start + SCALE_BYTES * (block + (num_scales(WIDE.tensors[0].num_elements) if tensor == "b" else 0))
    payload[place : place + 2] = bytes.fromhex("c07f")

    error = refusal(bytes(payload), spec=WIDE, federation=INT8)

    assert ("SCALE_RANGE", tensor, str(block)) == tuple(error.details[key] for key in ("check", "tensor", "block"))
    assert error.details["measured"] == "nan"
    assert "1.175" in error.details["limit"]


@pytest.mark.parametrize("index", [0, BLOCK_ELEMENTS - 1, BLOCK_ELEMENTS, BLOCK_ELEMENTS + SCALE_BLOCK + 6])
def test_wrong_value_is_found_where_it_is(index: int) -> None:
    """-128 is named by its element wherever it stands in a long tensor."""
    payload = bytearray(delta_of(WIDE_VALUES, WIDE, Encoding.INT8))
    payload[len(payload) - WIDE.num_elements + index] = 0x80

    error = refusal(bytes(payload), spec=WIDE, federation=INT8)

    assert ("VALUE_RANGE", str(index)) == (error.details["check"], error.details["element"])
    assert str(index // SCALE_BLOCK) == error.details["block"]


def test_norm_is_judged_on_decoded_values() -> None:
    """A forged scale that makes small int8 large is refused by the norm that the aggregate would see."""
    error = refusal(with_bytes(0, "0060"), federation=INT8)

    assert type(error) is DeltaNormExceeded
    assert float(error.details["measured"]) > 1e19


@pytest.mark.parametrize("sent", [encoding for encoding in READABLE if encoding is not Encoding.INT8])
def test_another_encoding_than_the_federations_is_refused(sent: Encoding) -> None:
    """A federation in int8 takes nothing else, and says which encoding it takes."""
    error = refusal(delta_of((np.ones((2, 3)), np.ones(3)), encoding=sent), federation=INT8, encoding=sent)

    assert (HeaderInvalid, "ENCODING") == (type(error), error.details["check"])
    assert (sent.value, "int8") == (error.details["measured"], error.details["limit"])


def test_size_that_cannot_be_is_refused_before_the_payload() -> None:
    """A header that announces fewer bytes than scales and values have is refused by its number."""
    error = refusal(HONEST, federation=INT8, payload_size_bytes=22)

    assert (PayloadMalformed, "ST_SHORT") == (type(error), error.details["check"])
