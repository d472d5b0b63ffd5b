"""A contribution's header is judged whole, before a payload byte."""

import dataclasses
import hashlib

import pytest

from aggregator.admission.header import judge_header
from isthmus.contribution import ContributionHeader, Encoding
from isthmus.errors import (
    BaseStale,
    HeaderInvalid,
    IsthmusError,
    PayloadMalformed,
    PayloadTooLarge,
    RoundClosed,
    SpecMismatch,
)
from isthmus.federation import PrivacyPolicy, parse_federation
from isthmus.payload import MAX_HEADER_BYTES, layout
from isthmus.spec import ProjectorSpec, TensorSpec

SPEC = ProjectorSpec((TensorSpec("a", "F32", (2, 3)),))
BASE = hashlib.sha256(b"projector 1").digest()
FEDERATION = parse_federation(
    'name = "xray"\nrounds = 9\nencoding = "bf16"\nparticipation.silos = {min = 2, max = 4}\n'
    "plan.learning_rate.initial = 0.1\n"
)
HONEST = ContributionHeader(
    federation="xray",
    round=2,
    base_digest=BASE,
    spec_fingerprint=SPEC.fingerprint,
    payload_digest=hashlib.sha256(b"payload").digest(),
    payload_size_bytes=layout(SPEC, Encoding.BF16).size_bytes,
    num_examples=1,
    encoding=Encoding.BF16,
    metrics={"train.loss_0.5": 1.5},
)
VALUES = layout(SPEC, Encoding.BF16).data_bytes


def judge(**fields: object) -> None:
    """Judges the honest header but for these fields."""
    header = dataclasses.replace(HONEST, **fields)  # type: ignore[arg-type]
    judge_header(header, federation=FEDERATION, spec=SPEC, round_number=2, base_digest=BASE)


@pytest.mark.parametrize("size_bytes", [8 + 2 + VALUES, HONEST.payload_size_bytes, 8 + MAX_HEADER_BYTES + VALUES])
def test_honest_header_is_admitted(size_bytes: int) -> None:
    """A header that says what the federation expects passes, at the least and the largest payload size too."""
    judge(payload_size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("fields", "error", "check"),
    [
        pytest.param({"federation": "ct"}, HeaderInvalid, "FEDERATION", id="another federation"),
        pytest.param({"federation": "\x1b[2J"}, HeaderInvalid, "FEDERATION", id="control characters"),
        pytest.param({"federation": ""}, HeaderInvalid, "FEDERATION", id="no federation"),
        pytest.param({"round": 0}, HeaderInvalid, "ROUND", id="no round"),
        pytest.param({"round": 1}, RoundClosed, "ROUND", id="an earlier round"),
        pytest.param({"round": 3}, BaseStale, "ROUND", id="a later round"),
        pytest.param({"base_digest": bytes(32)}, BaseStale, "BASE", id="another base"),
        pytest.param({"spec_fingerprint": bytes(32)}, SpecMismatch, "SCHEMA_FINGERPRINT", id="another spec"),
        pytest.param({"encoding": Encoding.FP32}, HeaderInvalid, "ENCODING", id="another encoding"),
        pytest.param({"payload_size_bytes": 0}, PayloadMalformed, "ST_SHORT", id="no payload"),
        pytest.param({"payload_size_bytes": 9 + VALUES}, PayloadMalformed, "ST_SHORT", id="one byte too few"),
        pytest.param(
            {"payload_size_bytes": 9 + MAX_HEADER_BYTES + VALUES}, PayloadTooLarge, "ST_LENGTH", id="one byte too many"
        ),
        pytest.param({"payload_size_bytes": 2**64 - 1}, PayloadTooLarge, "ST_LENGTH", id="2^64 - 1 bytes"),
    ],
)
def test_wrong_field_is_refused(fields: dict[str, object], error: type[IsthmusError], check: str) -> None:
    """Each wrong field has its own error with the check, what was measured and the limit, in printable words."""
    with pytest.raises(error) as caught:
        judge(**fields)

    assert caught.value.details["check"] == check
    assert {"measured", "limit"} <= caught.value.details.keys()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("fields", [{"round": 1}, {"round": 3}, {"base_digest": bytes(32)}])
def test_moved_round_is_told(fields: dict[str, object]) -> None:
    """A silo that is out of step learns which round is open."""
    with pytest.raises((RoundClosed, BaseStale)) as caught:
        judge(**fields)

    assert caught.value.details["currentRound"] == "2"


PRIVATE = FEDERATION.model_copy(
    update={
        "plan": FEDERATION.plan.model_copy(
            update={"privacy": PrivacyPolicy(clip_norm=1.0, noise_multiplier=1.0, epsilon=2.0, delta=1e-5)}
        )
    }
)


@pytest.mark.parametrize(
    ("metrics", "told"),
    [({}, "no privacy that is spent"), ({"privacy_epsilon": 2.5}, "2.5"), ({"privacy_epsilon": 0.0}, "at most 2 here")],
)
def test_header_says_what_privacy_is_spent(metrics: dict[str, float], told: str) -> None:
    """Where the plan asks for privacy, a header without what is spent, or with more than the budget, is refused."""

    def judge_private(metrics: dict[str, float]) -> None:
        header = dataclasses.replace(HONEST, metrics=metrics)
        judge_header(header, federation=PRIVATE, spec=SPEC, round_number=2, base_digest=BASE)

    judge_private({"privacy_epsilon": 2.0})
    with pytest.raises(HeaderInvalid, match=told) as caught:
        judge_private(metrics)
    assert caught.value.details["check"] == "METRICS_RANGE"
