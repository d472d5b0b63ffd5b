"""Sizes and waits of the product, made small: a payload of 96 KiB has segments, and a retry costs a tenth of a second.

Nothing else of the product is changed. Import this before anything that copies these values.
"""

import isthmus.chunks
import isthmus.errors

CHUNK_BYTES = 4 << 10
SEGMENT_BYTES = 16 << 10

RETRY_SECONDS = 0.1
"""For everything that says when to come back."""

PING_MS = 2_000
"""A peer that vanished is noticed within twice this."""

PINGS = {"grpc.keepalive_time_ms": PING_MS, "grpc.keepalive_timeout_ms": PING_MS, "grpc.http2.ping_timeout_ms": PING_MS}


def shrink() -> None:
    """Makes the constants small, for this process and those that it forks."""
    isthmus.chunks.CHUNK_BYTES = CHUNK_BYTES
    isthmus.chunks.SEGMENT_BYTES = SEGMENT_BYTES
    for cut in (isthmus.chunks.spans, isthmus.chunks.split, isthmus.chunks.read_chunks):
        assert cut.__kwdefaults__ is not None
        cut.__kwdefaults__["step"] = CHUNK_BYTES
    assert isthmus.errors.ComeBack.__init__.__kwdefaults__ is not None
    isthmus.errors.ComeBack.__init__.__kwdefaults__["retry_after_seconds"] = RETRY_SECONDS
    _shrink_service()
    _shrink_silo()


def _shrink_service() -> None:
    import aggregator.rpc.slots
    import aggregator.server
    import aggregator.stores.local
    import aggregator.stores.objects

    aggregator.rpc.slots.TAKEOVER_SECONDS = 0.5
    aggregator.rpc.slots.BUSY_SECONDS = RETRY_SECONDS
    aggregator.stores.local._RETRY_SECONDS = RETRY_SECONDS
    aggregator.stores.objects._RETRY_SECONDS = RETRY_SECONDS
    aggregator.server.OPTIONS = _with(
        aggregator.server.OPTIONS,
        PINGS,
        {"grpc.http2.min_ping_interval_without_data_ms": PING_MS // 4},
    )


def _shrink_silo() -> None:
    import isthmus.channel
    import isthmus.secure_aggregation.session
    import silo_agent.agent

    silo_agent.agent.LONG_POLL_SECONDS = 5.0
    silo_agent.agent.PAUSED_SECONDS = RETRY_SECONDS
    isthmus.secure_aggregation.session.POLL_SECONDS = RETRY_SECONDS
    isthmus.channel.CHANNEL_OPTIONS = _with(
        isthmus.channel.CHANNEL_OPTIONS,
        PINGS,
        {"grpc.max_reconnect_backoff_ms": 250, "grpc.initial_reconnect_backoff_ms": 50},
        {"grpc.min_reconnect_backoff_ms": 250},
    )


def _with(options: tuple[tuple[str, int], ...], *changes: dict[str, int]) -> tuple[tuple[str, int], ...]:
    changed = dict(options)
    for change in changes:
        changed.update(change)
    return tuple(changed.items())
