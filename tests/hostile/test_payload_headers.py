"""Battery A: payload headers that nobody honest writes; most of them the safetensors library would load."""

import json

import numpy as np
import pytest

from isthmus.errors import PayloadMalformed, PayloadTooLarge
from tests.hostile.forged import DATA, A, B, payload_of, refusal, verdict
from tests.hostile.header_cases import CAP, CASES


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in CASES])
def test_header_is_refused(payload: bytes, check: str) -> None:
    """A malformed header is refused for the reason that is true of it, with a sentence and measured values."""
    error = refusal(payload)

    assert (type(error), error.details["check"]) == (PayloadMalformed, check)


@pytest.mark.parametrize(("payload", "check"), [pytest.param(p, check, id=name) for name, p, check in CASES])
def test_header_is_refused_byte_by_byte(payload: bytes, check: str) -> None:
    """Arriving in single bytes, a malformed header gets word for word the same refusal."""
    cuts = range(1, min(len(payload), 400))

    assert str(refusal(payload, cuts=cuts)) == str(refusal(payload))


@pytest.mark.parametrize("name", ["A06", "A07", "A08", "A09"])
def test_oversized_header_is_refused_before_a_byte(name: str) -> None:
    """Whoever announces the true size of an oversized header is refused before the upload begins."""
    size_bytes = {"A06": CAP + 1, "A07": 94_900_000, "A08": 96_900_000, "A09": 99_000_000}[name] + 8 + len(DATA)

    error = refusal(b"", payload_size_bytes=size_bytes)

    assert (type(error), error.details["check"]) == (PayloadTooLarge, "ST_LENGTH")


def test_battery_is_whole() -> None:
    """Every id of battery A, from A01 to A38, has a case here."""
    assert {name[:3] for name, _, _ in CASES} == {f"A{number:02}" for number in range(1, 39)}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(payload_of({"a": A, "b": B}), id="as the library writes it"),
        pytest.param(payload_of({"b": B, "a": A}), id="keys in another order"),
        pytest.param(payload_of(json.dumps({"a": A, "b": B}, indent=1), pad=False), id="other white space"),
        pytest.param(payload_of(json.dumps({"a": A, "b": B}).ljust(CAP), pad=False), id="padded to the cap"),
        pytest.param(payload_of(json.dumps({"\\u0061": A, "b": B}).replace("\\\\", "\\")), id="name escaped"),
    ],
)
def test_equal_header_is_admitted(payload: bytes) -> None:
    """What says the same of the same bytes in another spelling is admitted: silos may bring their own writer."""
    assert verdict(payload).l2_norm == pytest.approx(np.sqrt(285))
