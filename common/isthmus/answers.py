"""Answers of the aggregator, as values: what `isthmus.wire` is for both sides, this is for callers alone."""

from isthmus.overview import FederationOverview, FederationSummary, SiloStatus
from isthmus.round import Round
from isthmus.secure_aggregation.messages import masks_from_proto
from isthmus.v1 import admin_pb2, aggregator_pb2
from isthmus.wire import (
    encoding_from_proto,
    instant_from_proto,
    manifest_from_proto,
    plan_from_proto,
    receipt_from_proto,
    spec_from_proto,
    state_from_proto,
)


def round_from_proto(message: aggregator_pb2.GetRoundResponse, *, federation: str) -> Round:
    """The open round; an unset deadline or receipt is None.

    Raises:
        SpecMismatch: The spec's fingerprint is not that of its tensors.
    """
    return Round(
        federation=federation,
        number=message.round,
        state=state_from_proto(message.state),
        base_digest=message.base_digest,
        base_size_bytes=message.base_size_bytes,
        spec=spec_from_proto(message.spec),
        encoding=encoding_from_proto(message.encoding),
        plan=plan_from_proto(message.plan),
        num_rounds=message.num_rounds,
        max_num_examples=message.max_num_examples,
        deadline=instant_from_proto(message.deadline) if message.HasField("deadline") else None,
        deadline_remaining_seconds=message.deadline_remaining_seconds,
        receipt=receipt_from_proto(message.receipt) if message.HasField("receipt") else None,
        waiting_for=message.waiting_for,
        quorum=message.quorum,
        error_feedback=message.error_feedback,
        masks=masks_from_proto(message),
    )


def summary_from_proto(message: admin_pb2.FederationSummary) -> FederationSummary:
    """The summary, field by field."""
    return FederationSummary(
        federation=message.federation,
        state=state_from_proto(message.state),
        round=message.round,
        num_rounds=message.num_rounds,
        num_silos=message.num_silos,
    )


def overview_from_proto(message: admin_pb2.GetStatusResponse) -> FederationOverview:
    """The overview; an unset deadline or receipt is None.

    Raises:
        SpecMismatch: The spec's fingerprint is not that of its tensors.
    """
    return FederationOverview(
        summary=summary_from_proto(message.summary),
        waiting_for=message.waiting_for,
        opened_at=instant_from_proto(message.opened_at),
        deadline=instant_from_proto(message.deadline) if message.HasField("deadline") else None,
        silos=tuple(_silo_from_proto(silo) for silo in message.silos),
        spec=spec_from_proto(message.spec),
        latest=manifest_from_proto(message.latest),
        num_contributions=message.num_contributions,
        quorum=message.quorum,
        max_staleness=message.max_staleness,
        overdue=message.overdue,
        abandoned_rounds=tuple(message.abandoned_rounds),
        num_abandoned_rounds=message.num_abandoned_rounds,
        reverted_rounds=tuple(message.reverted_rounds),
        num_reverted_rounds=message.num_reverted_rounds,
        cut_began_at=instant_from_proto(message.cut_began_at) if message.HasField("cut_began_at") else None,
        trouble=message.trouble,
    )


def _silo_from_proto(message: admin_pb2.SiloStatus) -> SiloStatus:
    return SiloStatus(
        silo=message.silo,
        active=message.active,
        receipt=receipt_from_proto(message.receipt) if message.HasField("receipt") else None,
        last_refusal=message.last_refusal,
        num_contributions=message.num_contributions,
        waited_for_since=instant_from_proto(message.waited_for_since) if message.HasField("waited_for_since") else None,
        quarantined=message.quarantined,
    )
