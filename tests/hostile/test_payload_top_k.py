"""Battery B28 to B30, judged by admission itself: indices and values that no encoder of top_k writes."""

import numpy as np
import pytest

from aggregator.admission.norms import BLOCK_ELEMENTS
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import DeltaNormExceeded, DeltaNotFinite, HeaderInvalid, PayloadMalformed, SpecMismatch
from isthmus.payload import values_bytes
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.top_k import BLOCK, ENTRY_BYTES, KEPT, num_kept
from tests.hostile.forged import delta_of, federation_of, refusal, verdict
from tests.hostile.top_k_cases import (
    ENTRY_CASES,
    FIRST,
    FORM_CASES,
    HONEST,
    ONLY,
    SPEC,
    VALUE_CASES,
    VALUES,
    with_bytes,
)
from tests.rosters import values

TOP_K = federation_of(Encoding.TOP_K)
WIDE = ProjectorSpec((TensorSpec("a", "F32", (BLOCK_ELEMENTS + BLOCK + 33,)), TensorSpec("b", "F32", (3, BLOCK))))
WIDE_VALUES = [values(tensor.name, tensor.num_elements).reshape(tensor.shape) for tensor in WIDE.tensors]
BYTE_BY_BYTE = range(1, len(HONEST))


def test_honest_top_k_is_admitted_at_its_decoded_norm() -> None:
    """What the battery bends is itself admitted, at the norm of the values that are kept."""
    assert verdict(HONEST, spec=SPEC, federation=TOP_K).l2_norm == np.sqrt(1 + 4 + 1 / 16 + 1 / 4)


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in ENTRY_CASES])
@pytest.mark.parametrize("cuts", [(), BYTE_BY_BYTE], ids=["at once", "byte by byte"])
def test_top_k_that_no_encoder_writes_is_refused(payload: bytes, check: str, cuts: tuple[int, ...]) -> None:
    """Each is refused for what it is, with its tensor, block and entry, however it is cut."""
    error = refusal(payload, spec=SPEC, federation=TOP_K, cuts=cuts)

    assert (type(error), error.details["check"]) == (PayloadMalformed, check)
    assert error.details["tensor"] in ("a", "b")
    assert error.details["block"] == "0"
    assert int(error.details["entry"]) in range(3)


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in VALUE_CASES])
@pytest.mark.parametrize("cuts", [(), BYTE_BY_BYTE], ids=["at once", "byte by byte"])
def test_kept_value_that_is_none_is_refused(payload: bytes, check: str, cuts: tuple[int, ...]) -> None:
    """NaN or infinity among the kept values is found at its place in the tensor, not at that of its entry."""
    error = refusal(payload, spec=SPEC, federation=TOP_K, cuts=cuts)

    assert (type(error), error.details["check"]) == (DeltaNotFinite, check)
    assert (error.details["tensor"], int(error.details["element"])) in [("a", 3), ("a", 17), ("a", 39), ("b", 0)]


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in FORM_CASES])
def test_other_tensors_than_entries_are_refused(payload: bytes, check: str) -> None:
    """Entries that are missing, too many, of another dtype, shape or place are refused by the header."""
    error = refusal(payload, spec=SPEC, federation=TOP_K)

    assert type(error) is (SpecMismatch if check.startswith("SCHEMA") else PayloadMalformed)
    assert error.details["check"] == check


@pytest.mark.parametrize(
    ("place", "data", "expected"),
    [
        pytest.param(
            FIRST, "ffff", {"measured": "65535", "limit": "0 to 39", "block": "0", "entry": "0"}, id="beyond its block"
        ),
        pytest.param(4, "0300", {"measured": "3", "limit": "above 3", "block": "0", "entry": "1"}, id="twice"),
        pytest.param(
            6, "0000", {"measured": "+0 at index 17", "limit": "+0 at index 1", "entry": "1"}, id="zero behind a gap"
        ),
        pytest.param(
            ONLY + 2, "0080", {"measured": "-0 at index 0", "limit": "+0 at index 0", "tensor": "b"}, id="minus zero"
        ),
    ],
)
def test_refusal_says_what_and_where(place: int, data: str, expected: dict[str, str]) -> None:
    """A refusal names tensor, block, entry, what stands there and what may."""
    error = refusal(with_bytes(place, data), spec=SPEC, federation=TOP_K)

    assert expected == {key: error.details[key] for key in expected}


@pytest.mark.parametrize(
    ("tensor", "entry"),
    [
        ("a", 0),
        ("a", KEPT * (BLOCK_ELEMENTS // BLOCK) - 1),
        ("a", KEPT * (BLOCK_ELEMENTS // BLOCK)),
        ("a", num_kept(WIDE.tensors[0].num_elements) - 1),
        ("b", 0),
        ("b", 3 * KEPT - 1),
    ],
)
def test_wrong_index_is_found_where_it_is(tensor: str, entry: int) -> None:
    """Of many entries the wrong one is named by tensor, block and entry, whatever the blocks it streams by in."""
    payload = bytearray(delta_of(WIDE_VALUES, WIDE, Encoding.TOP_K))
    sizes = [values_bytes(one.num_elements, Encoding.TOP_K) for one in WIDE.tensors]
    place = len(payload) - sum(sizes) + (sizes[0] if tensor == "b" else 0) + entry * ENTRY_BYTES
    payload[place : place + 2] = b"\x00\x04"

    error = refusal(bytes(payload), spec=WIDE, federation=TOP_K)

    found = tuple(error.details[key] for key in ("check", "tensor", "block", "entry"))
    assert ("INDEX_RANGE", tensor, str(entry // KEPT), str(entry % KEPT)) == found


def test_first_index_of_a_block_need_not_rise() -> None:
    """Indices rise within a block alone: the honest payload of many blocks falls back at each, and is admitted."""
    assert verdict(delta_of(WIDE_VALUES, WIDE, Encoding.TOP_K), spec=WIDE, federation=TOP_K).l2_norm > 0


def test_norm_is_judged_on_decoded_values() -> None:
    """A forged value that is large is refused by the norm that the aggregate would see."""
    error = refusal(with_bytes(FIRST + 2, "0060"), spec=SPEC, federation=TOP_K)

    assert type(error) is DeltaNormExceeded
    assert float(error.details["measured"]) > 1e19


@pytest.mark.parametrize("sent", [encoding for encoding in READABLE if encoding is not Encoding.TOP_K])
def test_another_encoding_than_the_federations_is_refused(sent: Encoding) -> None:
    """A federation in top_k takes nothing else, and says which encoding it takes."""
    error = refusal(delta_of(VALUES, SPEC, sent), spec=SPEC, federation=TOP_K, encoding=sent)

    assert (HeaderInvalid, "ENCODING") == (type(error), error.details["check"])
    assert (sent.value, "top_k") == (error.details["measured"], error.details["limit"])


def test_size_that_cannot_be_is_refused_before_the_payload() -> None:
    """A header that announces fewer bytes than the entries have is refused by its number."""
    error = refusal(HONEST, spec=SPEC, federation=TOP_K, payload_size_bytes=25)

    assert (PayloadMalformed, "ST_SHORT") == (type(error), error.details["check"])
