"""Spans where nobody listens: nothing happens, nothing is needed, and a wrong wish is one sentence."""

import sys
import time

import pytest

from isthmus import traces
from isthmus.errors import ConfigInvalid
from isthmus.trace_ids import of_contribution, of_round, of_silo


def test_nothing_happens_without_an_endpoint() -> None:
    """No endpoint, no spans: no metadata, no ids, and the block runs as it is."""
    traces.configure("isthmus-silo", endpoint="", share=1.0, environment={})
    with traces.silo_span("silo.push", "harbour", 1, silo="north") as span:
        span.tell(size_bytes=7)
        span.link(of_round("harbour", 1))

    assert (traces.on(), traces.outgoing(), traces.ids()) == (False, (), {})


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an endpoint is named and OpenTelemetry is not installed, the start says what to install."""
    monkeypatch.delitem(sys.modules, "isthmus.exporting", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ConfigInvalid, match=r'pip install "\.\[traces\]" in a clone'):
        traces.configure("x", endpoint="", share=1.0, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4317"})


def test_dead_collector_stops_nobody() -> None:
    """Where nobody listens at the endpoint, spans do not wait for it and the process ends within seconds."""
    traces.configure("isthmus-silo", endpoint="http://127.0.0.1:9", share=1.0, environment={})
    began = time.monotonic()
    for _ in range(1000):
        with traces.silo_span("silo.push", "harbour", 1, silo="north"):
            pass
    spent = time.monotonic() - began
    traces.end()

    assert spent < 20  # a span that waits takes milliseconds at least, and one that is sent alone a second
    assert time.monotonic() - began < spent + 15


def test_ids_are_what_they_were() -> None:
    """Replicas of two versions must find the same ids: these are fixed."""
    north = of_silo("harbour", 1, "north")
    contribution = of_contribution("harbour", 1, silo="north", payload_digest=b"\x01" * 32)

    assert f"{north.trace_id:032x}" == "02e07da441400465c86988ae96d0a14d"
    assert (contribution.trace_id, f"{contribution.span_id:016x}") == (north.trace_id, "cca9852f2136b0c0")
    assert f"{of_round('harbour', 1).trace_id:032x}" == "8f4fc188a356e87d9c7c66f7618aa4cb"
    assert (
        len({of_silo("harbour", 1, "south"), of_silo("harbour", 2, "north"), of_silo("quay", 1, "north"), north}) == 4
    )
