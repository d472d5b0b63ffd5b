"""Messages of isthmus.v1 <-> our values. Beside servicers and client stubs, the only module that knows both.

What the wire can hold and a value cannot (an unknown enum number, a metric twice) raises here; whether a value is
acceptable is judged elsewhere.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from isthmus.contribution import MAX_METRICS, ContributionHeader, Encoding, Receipt
from isthmus.errors import AggregatorUntrusted, HeaderInvalid, RequestInvalid, SpecMismatch
from isthmus.federation import FederationState, PrivacyPolicy, TrainingPlan
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.v1 import aggregator_pb2, projector_pb2

_ENCODINGS = {
    Encoding.FP32: projector_pb2.ENCODING_FP32,
    Encoding.BF16: projector_pb2.ENCODING_BF16,
    Encoding.FP16: projector_pb2.ENCODING_FP16,
    Encoding.INT8: projector_pb2.ENCODING_INT8,
    Encoding.TOP_K: projector_pb2.ENCODING_TOP_K,
    Encoding.RING32: projector_pb2.ENCODING_RING32,
}
_ENCODING_VALUES: dict[int, Encoding] = {number: value for value, number in _ENCODINGS.items()}
_STATES = {
    FederationState.RUNNING: aggregator_pb2.FEDERATION_STATE_RUNNING,
    FederationState.PAUSED: aggregator_pb2.FEDERATION_STATE_PAUSED,
    FederationState.FINISHED: aggregator_pb2.FEDERATION_STATE_FINISHED,
}
_STATE_VALUES: dict[int, FederationState] = {number: value for value, number in _STATES.items()}


def instant_to_proto(instant: datetime) -> Timestamp:
    """An aware instant, to the microsecond."""
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def instant_from_proto(message: Timestamp) -> datetime:
    """The instant, in UTC.

    Raises:
        AggregatorUntrusted: There is no such instant from the year 1 to the year 9999; only aggregators send instants.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except ValueError as error:
        raise AggregatorUntrusted(
            f"The aggregator's answer names an instant that no calendar has ({message.seconds} s after 1970). Ask the "
            "operator whether this is the right aggregator.",
            check="instant",
            measured=message.seconds,
        ) from error


def encoding_to_proto(encoding: Encoding) -> projector_pb2.Encoding:
    """The enum's number."""
    return _ENCODINGS[encoding]


def encoding_from_proto(number: int) -> Encoding:
    """The encoding of this number.

    Raises:
        HeaderInvalid: The number is none that this version knows.
    """
    if number not in _ENCODING_VALUES:
        known = ", ".join(f"{value} ({name})" for value, name in sorted(_ENCODING_VALUES.items()))
        raise HeaderInvalid(
            f"Encoding {number} is unknown; the known ones are {known}.", check="encoding", measured=number, limit=known
        )
    return _ENCODING_VALUES[number]


def state_to_proto(state: FederationState) -> aggregator_pb2.FederationState:
    """The enum's number."""
    return _STATES[state]


def state_from_proto(number: int) -> FederationState:
    """The federation state of this number.

    Raises:
        RequestInvalid: The number is none that this version knows.
    """
    if number not in _STATE_VALUES:
        raise RequestInvalid(
            f"Federation state {number} is unknown; ask for running, paused or finished.",
            check="state",
            measured=number,
        )
    return _STATE_VALUES[number]


def spec_to_proto(spec: ProjectorSpec) -> projector_pb2.ProjectorSpec:
    """The spec with its fingerprint."""
    tensors = [projector_pb2.TensorSpec(name=t.name, dtype=t.dtype, shape=t.shape) for t in spec.tensors]
    return projector_pb2.ProjectorSpec(tensors=tensors, fingerprint=spec.fingerprint)


def spec_from_proto(message: projector_pb2.ProjectorSpec) -> ProjectorSpec:
    """The spec, its fingerprint recomputed.

    Raises:
        SpecMismatch: It is no valid spec, or its tensors do not have the fingerprint that came with them.
    """
    spec = ProjectorSpec(tuple(TensorSpec(t.name, t.dtype, tuple(t.shape)) for t in message.tensors))
    if spec.fingerprint != message.fingerprint:
        raise SpecMismatch(
            "The projector spec does not have the fingerprint that came with it; the two sides disagree.",
            check="fingerprint",
            measured=spec.fingerprint.hex(),
            limit=message.fingerprint.hex(),
        )
    return spec


def plan_to_proto(plan: TrainingPlan) -> projector_pb2.TrainingPlan:
    """The plan, field by field."""
    return projector_pb2.TrainingPlan(**plan.model_dump())


def plan_from_proto(message: projector_pb2.TrainingPlan) -> TrainingPlan:
    """The plan, field by field."""
    fields = {name: getattr(message, name) for name in TrainingPlan.model_fields.keys() - {"settings", "privacy"}}
    names = PrivacyPolicy.model_fields
    privacy = {name: getattr(message.privacy, name) for name in names} if message.HasField("privacy") else None
    return TrainingPlan(**fields, settings=dict(message.settings), privacy=privacy)


def header_to_proto(header: ContributionHeader) -> projector_pb2.ContributionHeader:
    """The header; metrics sorted by name."""
    return projector_pb2.ContributionHeader(
        federation=header.federation,
        round=header.round,
        base_digest=header.base_digest,
        spec_fingerprint=header.spec_fingerprint,
        payload_digest=header.payload_digest,
        payload_size_bytes=header.payload_size_bytes,
        num_examples=header.num_examples,
        encoding=encoding_to_proto(header.encoding),
        metrics=_metrics_to_proto(header.metrics),
        nonce=header.nonce,
        signature=header.signature,
        transcript=header.transcript,
        seed_digest=header.seed_digest,
    )


def header_from_proto(message: projector_pb2.ContributionHeader) -> ContributionHeader:
    """The header as the silo wrote it; `aggregator.admission.header.judge_header` says whether it is acceptable.

    Raises:
        HeaderInvalid: The encoding is unknown, or a metric comes twice, or there are more than 64 of them.
    """
    return ContributionHeader(
        federation=message.federation,
        round=message.round,
        base_digest=message.base_digest,
        spec_fingerprint=message.spec_fingerprint,
        payload_digest=message.payload_digest,
        payload_size_bytes=message.payload_size_bytes,
        num_examples=message.num_examples,
        encoding=encoding_from_proto(message.encoding),
        metrics=_metrics_from_proto(message.metrics),
        nonce=message.nonce,
        signature=message.signature,
        transcript=message.transcript,
        seed_digest=message.seed_digest,
    )


def receipt_to_proto(receipt: Receipt) -> projector_pb2.Receipt:
    """The receipt, field by field."""
    return projector_pb2.Receipt(
        federation=receipt.federation,
        round=receipt.round,
        silo=receipt.silo,
        payload_digest=receipt.payload_digest,
        payload_size_bytes=receipt.payload_size_bytes,
        num_examples=receipt.num_examples,
        l2_norm=receipt.l2_norm,
        admitted_at=instant_to_proto(receipt.admitted_at),
        counted_in=receipt.counted_in,
        signature=receipt.signature,
    )


def receipt_from_proto(message: projector_pb2.Receipt) -> Receipt:
    """The receipt, field by field."""
    return Receipt(
        federation=message.federation,
        round=message.round,
        silo=message.silo,
        payload_digest=message.payload_digest,
        payload_size_bytes=message.payload_size_bytes,
        num_examples=message.num_examples,
        l2_norm=message.l2_norm,
        admitted_at=instant_from_proto(message.admitted_at),
        counted_in=message.counted_in,
        signature=message.signature,
    )


def manifest_to_proto(manifest: ProjectorManifest) -> projector_pb2.ProjectorManifest:
    """The manifest, without the size of the optimizer's state: nobody pulls that."""
    return projector_pb2.ProjectorManifest(
        number=manifest.number,
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        parent_digest=manifest.parent_digest,
        roster_digest=manifest.roster_digest,
        rule=manifest.rule,
        server_optimizer=manifest.server_optimizer,
        optimizer_state_digest=manifest.optimizer_state_digest,
        silos=manifest.silos,
        num_examples=manifest.num_examples,
        metrics=_metrics_to_proto(manifest.metrics),
        tolerance=manifest.tolerance,
        cut_at=instant_to_proto(manifest.cut_at),
        abandoned=manifest.abandoned,
        reverted=manifest.reverted,
        signature=manifest.signature,
        remark=manifest.remark,
    )


def manifest_from_proto(message: projector_pb2.ProjectorManifest) -> ProjectorManifest:
    """The manifest, field by field."""
    return ProjectorManifest(
        number=message.number,
        digest=message.digest,
        size_bytes=message.size_bytes,
        cut_at=instant_from_proto(message.cut_at),
        parent_digest=message.parent_digest,
        roster_digest=message.roster_digest,
        rule=message.rule,
        server_optimizer=message.server_optimizer,
        optimizer_state_digest=message.optimizer_state_digest,
        silos=tuple(message.silos),
        num_examples=message.num_examples,
        metrics={metric.name: metric.value for metric in message.metrics},
        tolerance=message.tolerance,
        abandoned=message.abandoned,
        reverted=message.reverted,
        signature=message.signature,
        remark=message.remark,
    )


def _metrics_to_proto(metrics: dict[str, float]) -> list[projector_pb2.Metric]:
    return [projector_pb2.Metric(name=name, value=metrics[name]) for name in sorted(metrics)]


def _metrics_from_proto(metrics: Iterable[projector_pb2.Metric]) -> dict[str, float]:
    values: dict[str, float] = {}
    for count, metric in enumerate(metrics, start=1):
        if metric.name in values or count > MAX_METRICS:
            raise HeaderInvalid(
                f"The header's metrics must have unique names and be at most {MAX_METRICS}.",
                check="metrics",
                measured=count,
                limit=MAX_METRICS,
            )
        values[metric.name] = metric.value
    return values
