"""Whoever calls writes nothing into metrics, spans or logs: not by names, numbers, reasons, nor by `traceparent`."""

import logging
import socket
import urllib.request
from collections.abc import Iterator

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aggregator.metrics import labels
from aggregator.metrics.labels import OTHERS, Names, reason_of
from aggregator.stores.memory import MemoryStore
from isthmus import traces
from isthmus.errors import IsthmusError
from isthmus.trace_ids import below, of_silo, traceparent_of
from tests import pki
from tests.otlp_receiver import Receiver, receiving
from tests.serving import Operator, Silo, connected, definition, serving

EVIL = "evil-word-of-a-stranger"
METADATA_LABELS = {"method", "reason", "federation", "silo", "phase", "step", "verb", "stat", "kind", "le"}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Where this process's spans go."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with receiving() as receiving_one:
        traces.configure("isthmus-aggregator", endpoint=receiving_one.endpoint, share=1.0, environment={})
        yield receiving_one
        traces.end()


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def attempts(silo: Silo, stranger: grpc.Channel) -> None:
    """What a silo that means harm sends: every text it may choose is EVIL, and numbers are as large as they get."""
    good = silo.delta()
    bent = [
        good.but(federation=EVIL),
        good.but(metrics={EVIL: 1.0}),
        good.but(round=2**64 - 1),
        good.but(num_examples=2**64 - 1),
        good.but(spec_fingerprint=EVIL.encode()),
        good.but(payload_digest=EVIL.encode()),
    ]
    for delta in bent:
        with pytest.raises(IsthmusError):
            silo.push(delta)
    silo.metadata = (("traceparent", EVIL), ("x-" + EVIL, EVIL))
    silo.pull(number=0)
    with pytest.raises(IsthmusError):
        silo.pull(digest=EVIL.encode())
    silo.metadata = (("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-00"),)
    silo.push(good)
    with pytest.raises(grpc.RpcError):
        stranger.unary_unary(f"/isthmus.v1.AggregatorService/{EVIL}")(b"", timeout=20)


def test_no_word_of_a_caller_is_told(receiver: Receiver, caplog: pytest.LogCaptureFixture, unused_port: int) -> None:
    """After a hostile silo's calls, no metric, span or line of the log holds a word of it, and labels are as ever."""
    caplog.set_level(logging.DEBUG, logger="aggregator")
    metrics = {"listen": f"127.0.0.1:{unused_port}", "interval_seconds": 0.1}
    with serving(MemoryStore(), metrics=metrics) as address:
        operator = Operator(address)
        operator.create(definition(quorum=1, rounds=1))
        silo = Silo(address, operator.invite("north"))
        attempts(silo, connected(address, pki.operator()))
        silo.round(after_round=1, wait_seconds=10)
        receiver.wait_for(lambda it: it.named("round"))
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics") as answer:
            text = answer.read().decode()
    logged = "".join(record.getMessage() + str(getattr(record, "facts", "")) for record in caplog.records)

    assert (EVIL in text, EVIL in logged) == (False, False)
    assert [raw for raw in receiver.raw if EVIL.encode() in raw] == []
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    assert {label for one in samples for label in one.labels} <= METADATA_LABELS
    assert {one.labels["reason"] for one in samples if "reason" in one.labels} <= set(labels.REASONS)
    assert {one.labels["federation"] for one in samples if "federation" in one.labels} == {"harbour"}


def test_no_caller_chooses_a_trace(receiver: Receiver) -> None:
    """A push under another's trace and unsampled is in its own trace, kept, and under no span of the other."""
    with serving(MemoryStore()) as address:
        operator = Operator(address)
        operator.create(definition(quorum=1, rounds=1))
        silo = Silo(address, operator.invite("north"))
        others = of_silo("harbour", 1, "south").trace_id
        silo.metadata = (("traceparent", f"00-{others:032x}-{7:016x}-00"),)
        silo.push(silo.delta())
        receiver.wait_for(lambda it: it.named("delta.receive"))

    (span,) = receiver.named("delta.receive")
    assert span.trace == f"{of_silo('harbour', 1, 'north').trace_id:032x}"
    assert span.span.parent_span_id == b""


def test_largest_numbers_lose_no_span(receiver: Receiver) -> None:
    """A round's number that no span's integer can hold is cut, and the batch that it is in arrives."""
    with traces.silo_span("delta.receive", "harbour", 2**64 - 1, silo="north"):
        pass
    receiver.wait_for(lambda it: it.received)

    assert receiver.received[0].facts["isthmus.round"] == 2**63 - 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        EVIL,
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        traceparent_of(1, 7),
        traceparent_of(of_silo("f", 1, "s").trace_id, 7) + "\n",
        traceparent_of(of_silo("f", 1, "s").trace_id, 7).upper(),
    ],
)
def test_what_is_no_span_of_this_trace_is_passed_over(text: str) -> None:
    """Nothing but a well-formed parent of the very trace changes where a span belongs."""
    place = of_silo("f", 1, "s")

    assert below(place, text) == place
    assert below(place, traceparent_of(place.trace_id, 7)).parent_id == 7


def test_names_are_capped() -> None:
    """Federations above the cap share one label, and those that had one keep it."""
    names = Names(2)

    assert [names.label(name) for name in "abcab"] == ["a", "b", OTHERS, "a", "b"]


def test_every_error_has_a_known_reason() -> None:
    """Whatever ends a call, its label is one of the list."""
    assert {reason_of(error) for error in (ValueError(EVIL), KeyError(EVIL), IsthmusError(EVIL))} <= set(labels.REASONS)
