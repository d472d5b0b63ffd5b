"""Messages of isthmus.v1 <-> values."""

from datetime import UTC, datetime

import pytest

from isthmus import wire
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.errors import HeaderInvalid, RequestInvalid, SpecMismatch
from isthmus.federation import FederationState, PrivacyPolicy, TrainingPlan
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.v1 import projector_pb2

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SPEC = ProjectorSpec((TensorSpec("a.bias", "F32", (3,)), TensorSpec("b", "F32", ()), TensorSpec("c", "F32", (2, 3))))
HEADER = ContributionHeader(
    federation="xray",
    round=7,
    base_digest=b"b" * 32,
    spec_fingerprint=SPEC.fingerprint,
    payload_digest=b"p" * 32,
    payload_size_bytes=2**40,
    num_examples=2**53,
    encoding=Encoding.BF16,
    metrics={"train_loss": 2.5, "accuracy": 0.1},
    transcript=b"t" * 32,
    seed_digest=b"z" * 32,
)
RECEIPT = Receipt("xray", 7, "north", b"p" * 32, 2**40, 12, 0.1, NOON, 9)
MANIFEST = ProjectorManifest(
    number=3,
    digest=b"d" * 32,
    size_bytes=99,
    cut_at=NOON,
    parent_digest=b"e" * 32,
    roster_digest=b"r" * 32,
    rule="mean",
    server_optimizer="adam",
    optimizer_state_digest=b"o" * 32,
    silos=("north", "south"),
    num_examples=5,
    metrics={"train_loss": 1.5},
    tolerance=0.25,
    remark="The sum was opened.",
)
PLAN = TrainingPlan(
    local_epochs=2,
    local_steps=5,
    batch_size=16,
    optimizer="adamw",
    learning_rate=0.001,
    final_learning_rate=0.0005,
    weight_decay=0.01,
    gradient_clip_norm=1.0,
    fedprox_mu=0.1,
    one_pass=True,
    seed=2**62,
    settings={"feature_scaling": "encoder_prior"},
    privacy=PrivacyPolicy(clip_norm=1.5, noise_multiplier=1.1, epsilon=8.0, delta=1e-5),
)


def test_values_come_back_as_they_went():
    """Every value survives its message, to the last field."""
    assert SPEC == wire.spec_from_proto(wire.spec_to_proto(SPEC))
    assert HEADER == wire.header_from_proto(wire.header_to_proto(HEADER))
    assert RECEIPT == wire.receipt_from_proto(wire.receipt_to_proto(RECEIPT))
    assert MANIFEST == wire.manifest_from_proto(wire.manifest_to_proto(MANIFEST))
    assert PLAN == wire.plan_from_proto(wire.plan_to_proto(PLAN))
    plain = PLAN.model_copy(update={"privacy": None})
    assert plain == wire.plan_from_proto(wire.plan_to_proto(plain))


@pytest.mark.parametrize("encoding", Encoding)
def test_encodings_come_back(encoding):
    """Every encoding has a number."""
    assert wire.encoding_from_proto(wire.encoding_to_proto(encoding)) is encoding


@pytest.mark.parametrize("state", FederationState)
def test_states_come_back(state):
    """Every federation state has a number."""
    assert wire.state_from_proto(wire.state_to_proto(state)) is state


def test_every_field_of_the_plan_travels():
    """A key added to the plan without a field in the proto is found here, not in the field."""
    fields = {field.name for field in projector_pb2.TrainingPlan.DESCRIPTOR.fields}

    assert fields == set(TrainingPlan.model_fields)


@pytest.mark.parametrize("number", [0, 7, 99, -1])
def test_unknown_numbers_are_refused(number):
    """A number from another version of the protocol is an error of the request, not of the aggregator."""
    with pytest.raises(HeaderInvalid):
        wire.encoding_from_proto(number)
    with pytest.raises(RequestInvalid):
        wire.state_from_proto(number)


def test_a_metric_named_twice_is_refused():
    """Two values for one name would leave it to chance which one is stored."""
    message = wire.header_to_proto(HEADER)
    message.metrics.add(name="train_loss", value=1.0)

    with pytest.raises(HeaderInvalid):
        wire.header_from_proto(message)


def test_more_metrics_than_the_limit_are_refused():
    """64 metrics pass, 65 do not."""
    message = wire.header_to_proto(HEADER)
    del message.metrics[:]
    for number in range(64):
        message.metrics.add(name=f"m{number}", value=1.0)
    wire.header_from_proto(message)
    message.metrics.add(name="one_more", value=1.0)

    with pytest.raises(HeaderInvalid):
        wire.header_from_proto(message)


def test_spec_with_a_foreign_fingerprint_is_refused():
    """The two sides must compute the fingerprint alike before a tensor moves."""
    message = wire.spec_to_proto(SPEC)
    message.fingerprint = b"x" * 32

    with pytest.raises(SpecMismatch):
        wire.spec_from_proto(message)
