"""However a payload is cut into chunks, admission says the same of it, word for word and bit for bit."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from aggregator.admission.norms import BLOCK_ELEMENTS
from aggregator.admission.payload import PayloadInspection
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import Incomplete, IsthmusError, PayloadMalformed
from isthmus.payload import layout
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.hostile.forged import delta_of, federation_of, header_of, verdict

SPEC = ProjectorSpec(
    (TensorSpec("a", "F32", (3, BLOCK_ELEMENTS // 2)), TensorSpec("b", "F32", ()), TensorSpec("c", "F32", (5,)))
)
VALUES = [np.random.default_rng(7).normal(0, 0.1, tensor.shape) for tensor in SPEC.tensors]
PAYLOADS = {encoding: delta_of(VALUES, SPEC, encoding) for encoding in READABLE}
SPOILERS = {
    "untouched": b"",
    "NaN": np.float32(np.nan).tobytes(),
    "large": np.float32(1e30).tobytes(),
    "minus zero": np.float32(-0.0).tobytes(),
}


def spoiled(encoding: Encoding, places: list[tuple[str, int]]) -> bytes:
    """The payload with some bytes overwritten."""
    payload = bytearray(PAYLOADS[encoding])
    for kind, place in places:
        spoiler = SPOILERS[kind]
        payload[place : place + len(spoiler)] = spoiler
    return bytes(payload[: len(PAYLOADS[encoding])])


def said(payload: bytes, encoding: Encoding, cuts: list[int]) -> object:
    """Everything admission says: the norms to the last bit, or the refusal to the last word."""
    try:
        admitted = verdict(payload, spec=SPEC, federation=federation_of(encoding), cuts=cuts)
    except IsthmusError as error:
        return type(error), str(error), error.details
    return admitted


SIZE = len(PAYLOADS[Encoding.FP32])
HEADER = layout(SPEC, Encoding.FP32).data_start
NEAR_EDGES = st.sampled_from(
    [0, 1, 7, 8, 9, HEADER - 1, HEADER, HEADER + 1, HEADER + 4 * BLOCK_ELEMENTS, SIZE - 1, SIZE]
)


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(READABLE),
    places=st.lists(st.tuples(st.sampled_from(list(SPOILERS)), st.integers(0, SIZE - 1)), max_size=3),
    cuts=st.lists(st.one_of(NEAR_EDGES, st.integers(0, SIZE)), max_size=12),
)
def test_any_chunking_gives_the_same_verdict(
    encoding: Encoding, places: list[tuple[str, int]], cuts: list[int]
) -> None:
    """Norms and refusals do not depend on where the stream is cut, empty chunks included."""
    payload = spoiled(encoding, places)

    assert said(payload, encoding, [min(cut, len(payload)) for cut in cuts]) == said(payload, encoding, [])


def test_header_split_at_every_byte_is_judged_alike() -> None:
    """A cut at each byte of the header and just beyond gives the same admission."""
    payload = PAYLOADS[Encoding.BF16]
    expected = said(payload, Encoding.BF16, [])

    assert {str(said(payload, Encoding.BF16, [cut])) for cut in range(HEADER + 9)} == {str(expected)}


def inspection_of(payload: bytes, **fields: object) -> PayloadInspection:
    """An inspection of this payload that has seen no byte yet."""
    return PayloadInspection(header_of(payload, spec=SPEC, **fields), spec=SPEC, policy=federation_of().admission)


def test_header_is_judged_before_any_value_is_let_through() -> None:
    """The refusal of a header comes with the header's last byte, before one byte of values was fed."""
    payload = PAYLOADS[Encoding.FP16]
    inspection = inspection_of(payload.ljust(SIZE, b"\0"))

    inspection.feed(payload[: layout(SPEC, Encoding.FP16).data_start - 1])
    with pytest.raises(IsthmusError, match="must be F32"):
        inspection.feed(payload[layout(SPEC, Encoding.FP16).data_start - 1 :][:1])


def test_refused_payload_stays_refused() -> None:
    """Once refused, an inspection answers every further byte and the end with the same refusal."""
    payload = spoiled(Encoding.FP32, [("NaN", HEADER)])
    inspection = inspection_of(payload)
    with pytest.raises(IsthmusError) as first:
        inspection.feed(payload)

    with pytest.raises(IsthmusError) as second:
        inspection.feed(b"")
    with pytest.raises(IsthmusError) as third:
        inspection.finish()

    assert first.value is second.value is third.value


def test_end_before_the_last_byte_is_incomplete_and_can_go_on() -> None:
    """Finishing early says how much is there, and the missing bytes can still come."""
    payload = PAYLOADS[Encoding.FP32]
    inspection = inspection_of(payload)
    inspection.feed(payload[:-1])

    with pytest.raises(Incomplete) as caught:
        inspection.finish()
    inspection.feed(payload[-1:])

    assert caught.value.details["committedBytes"] == str(SIZE - 1)
    assert inspection.finish() == said(payload, Encoding.FP32, [])


@pytest.mark.parametrize("split", [pytest.param(SIZE, id="alone"), pytest.param(9, id="in the last chunk")])
def test_more_bytes_than_announced_are_refused(split: int) -> None:
    """A byte beyond the announced size is refused, whether it comes alone or with others."""
    payload = PAYLOADS[Encoding.FP32]
    inspection = inspection_of(payload)
    inspection.feed(payload[:split])

    with pytest.raises(PayloadMalformed) as caught:
        inspection.feed(payload[split:] + b"\0")

    assert caught.value.details["check"] == "ST_LENGTH"
