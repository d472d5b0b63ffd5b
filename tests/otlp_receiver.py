"""An OTLP receiver of one's own on loopback: what OpenTelemetry's exporters send, kept as it came."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

SECONDS = 20.0


@dataclass(frozen=True)
class Received:
    """One span.

    Attributes:
        service: Which process sent it.
        span: What it sent.
    """

    service: str
    span: trace_pb2.Span

    @property
    def name(self) -> str:
        """What was done."""
        return self.span.name

    @property
    def trace(self) -> str:
        """Its trace's id in hex."""
        return self.span.trace_id.hex()

    @property
    def facts(self) -> dict[str, object]:
        """Its attributes."""
        return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in self.span.attributes}

    @property
    def links(self) -> list[tuple[str, str]]:
        """Trace and span of what it links to."""
        return [(link.trace_id.hex(), link.span_id.hex()) for link in self.span.links]


@dataclass
class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """The collector's side; `received` grows as spans come."""

    endpoint: str = ""
    received: list[Received] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def Export(self, request, context):
        """Keeps what came."""
        self.raw.append(request.SerializeToString())
        for resource in request.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            self.received += [Received(names["service.name"], span) for span in spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Received]:
        """The spans of this name."""
        return [one for one in self.received if one.name == name]

    def wait_for(self, true: Callable[["Receiver"], object]) -> None:
        """Waits until that is true."""
        end = time.monotonic() + SECONDS
        while not true(self):
            assert time.monotonic() < end, sorted((one.service, one.name) for one in self.received)
            time.sleep(0.05)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers."""
    server, receiver = grpc.server(ThreadPoolExecutor(2)), Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait()
