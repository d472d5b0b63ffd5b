"""Spans through OpenTelemetry to an OTLP endpoint over gRPC. Loaded only where one is named; needs the extra `traces`.

OpenTelemetry's own variables do the rest: the exporter's certificates, headers and timeouts, and the pace of its
batches.
"""

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from isthmus.logs import Event, log_event
from isthmus.trace_ids import Place

_LOG = logging.getLogger(__name__)

_MOST = (1 << 63) - 1
"""What an integer of a span may be; above it the whole batch could not be encoded."""

_NS = 1_000_000_000

_END_SECONDS = 3.0


class _Ids(IdGenerator):
    """The ids that the next span's place asks for."""

    def __init__(self) -> None:
        self._next: ContextVar[tuple[int, int]] = ContextVar("ids", default=(0, 0))

    @contextmanager
    def of(self, place: Place) -> Iterator[None]:
        """The span begun within has this trace, and this id if it names one."""
        token = self._next.set((place.trace_id, place.span_id))
        try:
            yield
        finally:
            self._next.reset(token)

    def generate_span_id(self) -> int:
        """The wanted one, or any."""
        return self._next.get()[1] or secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        """The wanted one; spans begin nowhere else."""
        return self._next.get()[0] or secrets.randbits(128) or 1


class _Telling(SpanExporter):
    """An exporter that tells once when spans are lost, and once when they arrive again.

    Args:
        exporter: What sends them.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._arrive = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends a batch; one that does not arrive is gone."""
        result = self._exporter.export(spans)
        arrive = result is SpanExportResult.SUCCESS
        if arrive != self._arrive:
            self._arrive = arrive
            level = logging.INFO if arrive else logging.WARNING
            log_event(_LOG, Event.TRACES_BACK if arrive else Event.TRACES_LOST, level, num_spans=len(spans))
        return result

    def shutdown(self) -> None:
        """Ends it."""
        self._exporter.shutdown()


class Exporting:
    """One process's spans; safe to use from many threads.

    Args:
        service: What the spans call this process.
        endpoint: "http://host:4317", or https; "": the environment's.
        share: Of all traces, in (0, 1].
    """

    def __init__(self, service: str, *, endpoint: str, share: float) -> None:
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(share),  # of the id alone: no caller's flag switches a trace on or off
            resource=Resource.create({"service.name": service, "service.instance.id": secrets.token_hex(8)}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        exporter = _Telling(OTLPSpanExporter(endpoint=endpoint or None))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell every batch, in words of its own
        self._tracer = self._provider.get_tracer("isthmus")

    def end(self) -> None:
        """Sends what is left, if that can be done in seconds: a collector that is away must not keep a process."""
        sending = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(_END_SECONDS)

    @contextmanager
    def span(
        self, name: str, place: Place, *, links: Sequence[Place], since: float | None, facts: Mapping[str, object]
    ) -> Iterator[None]:
        """One span, the thread's own while it lasts. Exceptions leave no text in it."""
        begun = self._begun(name, place, links=links, since=since)
        with trace.use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            self.tell(**facts)
            yield

    def lasted(self, name: str, place: Place, *, links: Sequence[Place], since: float, until: float) -> None:
        """One span that is over already."""
        self._begun(name, place, links=links, since=since).end(end_time=int(until * _NS))

    def tell(self, **facts: object) -> None:
        """Adds facts to the thread's span."""
        current = trace.get_current_span()
        for key, value in facts.items():
            bounded = min(value, _MOST) if isinstance(value, int) else value
            current.set_attribute(f"isthmus.{key}", bounded if isinstance(bounded, int | float) else str(bounded))

    def link(self, place: Place) -> None:
        """Links the thread's span to another one."""
        trace.get_current_span().add_link(_context_of(place.trace_id, place.span_id))

    def failed(self, reason: str) -> None:
        """Marks the thread's span as failed."""
        self.tell(reason=reason)
        trace.get_current_span().set_status(StatusCode.ERROR)

    def current(self) -> tuple[int, int] | None:
        """Trace and span of the thread's span; None where there is none, or where it is not kept."""
        context = trace.get_current_span().get_span_context()
        return (context.trace_id, context.span_id) if context.is_valid and context.trace_flags.sampled else None

    def _begun(self, name: str, place: Place, *, links: Sequence[Place], since: float | None) -> trace.Span:
        with self._ids.of(place):
            return self._tracer.start_span(
                name,
                context=_above(place),
                links=[Link(_context_of(one.trace_id, one.span_id)) for one in links],
                start_time=None if since is None else int(since * _NS),
            )


def _above(place: Place) -> Context:
    """What a span stands under: the thread's span where that is of the same trace, else the caller's, or nothing."""
    current = trace.get_current_span()
    if current.get_span_context().trace_id == place.trace_id:
        return trace.set_span_in_context(current)
    if place.parent_id:
        return trace.set_span_in_context(NonRecordingSpan(_context_of(place.trace_id, place.parent_id)), Context())
    return Context()


def _context_of(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
