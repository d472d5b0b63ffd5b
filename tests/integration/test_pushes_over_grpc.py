"""Pushes over real streams: receipts, refusals, conflicts, and what each leaves behind."""

import hashlib
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from aggregator.ledger import Ledger
from aggregator.ledger.documents import Upload
from isthmus.contribution import Encoding, push_id
from isthmus.errors import (
    BaseStale,
    ContributionConflict,
    DeltaNormExceeded,
    DeltaNotFinite,
    FederationFinished,
    FederationPaused,
    FinishMissing,
    HeaderInvalid,
    Incomplete,
    NumExamplesOutOfRange,
    OffsetMismatch,
    Overloaded,
    PayloadDigestMismatch,
    PayloadMalformed,
    PayloadTooLarge,
    RequestInvalid,
    RoundClosed,
    SiloNotEnrolled,
    SpecMismatch,
)
from isthmus.v1 import aggregator_pb2
from tests.ledgers import stage
from tests.rosters import TINY, payload_bytes
from tests.serving import (
    FINISH,
    LARGE,
    Operator,
    Silo,
    chunk_part,
    definition,
    eventually,
    header_part,
    never_ending,
    parts_of,
    projector_of,
    refusal,
    serving,
    told,
)

PAUSED = aggregator_pb2.FEDERATION_STATE_PAUSED
RUNNING = aggregator_pb2.FEDERATION_STATE_RUNNING
FINISHED = aggregator_pb2.FEDERATION_STATE_FINISHED


def filled(value):
    """A payload of this value everywhere."""
    return payload_bytes(np.full(TINY.num_elements, value, np.float32), TINY)


def test_receipt_says_what_was_admitted(north):
    """The receipt has the payload's digest and size, the weight, and the norm in float64 that admission measured."""
    delta = north.delta(payload=filled(0.5))

    receipt = north.push(delta)

    assert ("harbour", 1, "north", 10) == (receipt.federation, receipt.round, receipt.silo, receipt.num_examples)
    assert (delta.header.payload_digest, len(delta.payload)) == (receipt.payload_digest, receipt.payload_size_bytes)
    assert (9 * 0.25) ** 0.5 == receipt.l2_norm


def test_identical_push_is_answered_after_its_header(north):
    """A payload that is counted is not sent again: the identical receipt comes while the stream is still open."""
    delta = north.delta()
    receipt = north.push(delta)

    assert receipt == north.send(never_ending([header_part(delta)]), timeout=10)
    assert receipt == north.push(delta)
    assert len(delta.payload) == north.push_status(delta).committed_bytes
    assert north.push_status(delta).receipt.payload_digest == receipt.payload_digest


def test_identical_push_succeeds_after_the_cut(operator, north, south):
    """A receipt that got lost on its way is given again in later rounds, and while the federation is paused."""
    delta = north.delta()
    receipt = north.push(delta)
    south.push(south.delta(name="other"))
    assert 2 == north.round(after_round=1, wait_seconds=20).round
    operator.set_state(PAUSED)

    assert receipt == north.push(delta)


def test_other_bytes_in_the_same_round_conflict(store, north):
    """The first contribution of a silo to a round stands; another one is refused and on record."""
    first = north.push(north.delta(name="first"))

    error = refusal(lambda: north.push(north.delta(name="second")))

    assert (ContributionConflict, first.payload_digest.hex()) == (type(error), error.details["sha256"])
    assert first.payload_digest == Ledger(store).contribution("harbour", 1, "north").header.payload_digest


def without_quotes(text: str) -> str:
    """A refusal's text without what it quotes of the silo's words, or says of them where it is kept."""
    return re.sub(r"\(\d+ characters, SHA-256 [0-9a-f]{8}\)|'a b'|(?:78){6}|\bloss\b(?= = nan)", "...", text)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"num_examples": 0}, NumExamplesOutOfRange),
        ({"num_examples": 2**60}, NumExamplesOutOfRange),
        ({"round": 0}, HeaderInvalid),
        ({"round": 2}, BaseStale),
        ({"round": 2**64 - 1}, BaseStale),
        ({"base_digest": b"x" * 32}, BaseStale),
        ({"base_digest": b""}, HeaderInvalid),
        ({"spec_fingerprint": b"x" * 32}, SpecMismatch),
        ({"payload_digest": b"x"}, HeaderInvalid),
        ({"payload_size_bytes": 0}, (HeaderInvalid, PayloadMalformed)),
        ({"payload_size_bytes": 10**15}, PayloadTooLarge),
        ({"encoding": Encoding.BF16}, HeaderInvalid),
        ({"metrics": {"loss": float("nan")}}, HeaderInvalid),
        ({"metrics": {"a b": 1.0}}, HeaderInvalid),
    ],
)
def test_header_is_judged_before_any_byte_is_read(operator, north, change, expected):
    """A wrong header is refused while the stream is open and nothing else was sent; the refusal is on record."""
    delta = north.delta().but(**change)

    error = refusal(lambda: north.send(never_ending([header_part(delta)]), timeout=10))

    assert isinstance(error, expected)
    assert without_quotes(str(error)) == without_quotes(operator.status().silos[0].last_refusal)


@pytest.mark.parametrize(
    "case",
    [
        (filled(float("nan")), DeltaNotFinite),
        (filled(float("inf")), DeltaNotFinite),
        (filled(1e6), DeltaNormExceeded),
        (filled(0.1).replace(b"linear_1.bias", b"linear_1.bios"), SpecMismatch),
        (b"\xff" * len(filled(0.1)), PayloadMalformed),
    ],
)
def test_refused_payload_leaves_nothing(store, operator, north, case):
    """A wrong payload is dropped whole: nothing counts, the next push starts at 0 and is admitted, all is on record."""
    payload, expected = case
    wrong = north.delta(payload=payload)

    error = refusal(lambda: north.push(wrong))

    assert expected is type(error)
    assert 0 == north.push_status(wrong).committed_bytes
    assert Ledger(store).contribution("harbour", 1, "north") is None
    assert "last push refused: north" in operator.status().waiting_for
    assert str(error) == operator.status().silos[0].last_refusal
    assert north.push(north.delta()).round == 1
    assert "" == operator.status().silos[0].last_refusal


def test_bytes_other_than_announced_are_dropped(north):
    """A payload without its announced digest is refused, and the right one can be pushed from 0."""
    right = north.delta(name="right")
    wrong = north.delta(name="wrong").but(payload_digest=right.header.payload_digest)

    assert PayloadDigestMismatch is type(refusal(lambda: north.push(wrong)))
    assert 0 == north.push_status(right).committed_bytes
    assert right.header.payload_digest == north.push(right).payload_digest


def test_two_payloads_staged_under_one_digest_do_not_mix(north, store):
    """Where streams staged bytes of two payloads, a push that goes on from them is refused, and one from 0 counts."""
    delta = north.delta(name="right")
    identity = push_id("harbour", 1, silo="north", payload_digest=delta.header.payload_digest)
    upload = Upload("harbour", 1, "north", identity)
    stage(Ledger(store), upload, delta.payload, stop=17)  # the rest: named by what another stream had before it
    stage(Ledger(store), upload, b"another beginning" + delta.payload[17:], start=17)
    assert len(delta.payload) == north.push_status(delta).committed_bytes

    error = refusal(lambda: north.push(delta, start=len(delta.payload)))
    assert (PayloadDigestMismatch, "DIGEST_MISMATCH") == (type(error), error.details["check"])
    assert 0 == north.push_status(delta).committed_bytes
    assert delta.header.payload_digest == north.push(delta).payload_digest
    (segment,) = Ledger(store).contribution("harbour", 1, "north").segments
    assert segment.key.endswith(delta.header.payload_digest.hex())


def test_wrong_order_of_parts_is_refused(north):
    """Whatever comes in place of the next part is told apart, and never counts."""
    delta = north.delta()
    size, body = len(delta.payload), chunk_part(0, delta.payload)
    empty = aggregator_pb2.PushDeltaRequest()
    head = header_part(delta)

    for parts, expected in [
        ([head], FinishMissing),
        ([head, chunk_part(0, delta.payload[:10])], FinishMissing),
        ([head, chunk_part(0, delta.payload[:10]), FINISH], OffsetMismatch),
        ([head, chunk_part(10, delta.payload[10:12]), FINISH], Incomplete),
        ([head, chunk_part(11, delta.payload[11:]), FINISH], OffsetMismatch),
        ([head, chunk_part(12, delta.payload[12:]), head], HeaderInvalid),
        ([head, empty], HeaderInvalid),
        ([head, chunk_part(size, b"")], PayloadMalformed),
        ([head, body, chunk_part(size, b"x"), FINISH], PayloadTooLarge),
    ]:
        assert expected is type(refusal(lambda parts=parts: north.send(parts))), parts[1:]
    assert delta.header.payload_digest == north.push(delta).payload_digest


def test_stream_without_a_header_is_refused(north):
    """A stream names its federation first; one that does not belongs to nobody."""
    for parts in ([], [FINISH], [chunk_part(0, b"x")], [aggregator_pb2.PushDeltaRequest()]):
        assert refusal(lambda parts=parts: north.send(parts)).reason == "FEDERATION_UNKNOWN"


def test_unfinished_push_continues_at_another_replica(store, operator, north):
    """What arrived without finish is durable to the byte; another replica goes on from there."""
    delta = north.delta()
    assert FinishMissing is type(refusal(lambda: north.send([header_part(delta), chunk_part(0, delta.payload[:20])])))

    with serving(store) as elsewhere:
        there = Silo(elsewhere, north.credentials)
        assert 20 == there.push_status(delta).committed_bytes
        error = refusal(lambda: there.push(delta))
        assert (OffsetMismatch, "20") == (type(error), error.details["committedBytes"])
        assert delta.header.payload_digest == there.push(delta, start=20).payload_digest


def test_large_delta_is_staged_in_segments(address):
    """A payload of several segments is counted whole, and its segments are its bytes."""
    operator = Operator(address)
    operator.create(definition("wide", quorum=1), projector=projector_of(LARGE))
    silo = Silo(address, operator.invite("north", federation="wide"), federation="wide")
    delta = silo.delta(LARGE)

    receipt = silo.push(delta)

    assert hashlib.sha256(delta.payload).digest() == receipt.payload_digest
    assert 2 == silo.round(after_round=1, wait_seconds=20).round


def test_stopped_federation_admits_nothing(operator, north):
    """Paused and finished are told before a byte is read; a resumed federation admits again."""
    delta = north.delta()
    operator.set_state(PAUSED)
    assert FederationPaused is type(refusal(lambda: north.send(never_ending([header_part(delta)]), timeout=10)))
    operator.set_state(RUNNING)
    assert 1 == north.push(delta).round
    operator.set_state(FINISHED)
    assert FederationFinished is type(refusal(lambda: north.push(north.delta(name="late").but(round=2))))


def test_late_delta_is_told_to_pull_again(operator, address, north, south):
    """A push to a round that was cut without it is ABORTED, and says where to go on."""
    late = Silo(address, operator.invite("west"))
    delta = late.delta()
    operator.revoke("west")
    north.push(north.delta())
    south.push(south.delta(name="other"))
    assert 2 == north.round(after_round=1, wait_seconds=20).round
    late = Silo(address, operator.invite("west", replace=True))

    error = refusal(lambda: late.push(delta))

    assert (RoundClosed, "2") == (type(error), error.details["currentRound"])


def test_other_bytes_after_a_late_delta_are_late_too(store, operator, north, south):
    """Where a silo's first delta came too late to be counted, another one conflicts with nothing: it is late."""
    west = Silo(north.address, operator.invite("west"))
    another = west.delta(name="another")
    operator.revoke("west")
    north.push(north.delta())
    south.push(south.delta(name="other"))
    assert 2 == north.round(after_round=1, wait_seconds=20).round
    ledger = Ledger(store)
    counted = ledger.contribution("harbour", 1, "north")
    ledger.commit_contribution(replace(counted, silo="west"))
    west = Silo(north.address, operator.invite("west", replace=True))

    error = refusal(lambda: west.push(another))

    assert (RoundClosed, "2") == (type(error), error.details["currentRound"])


def test_silo_revoked_during_its_upload_is_not_counted(store, operator, north):
    """Whoever is barred while sending is not counted when the sending ends."""
    delta = north.delta()

    def parts():
        first, second, *rest = parts_of(delta)
        yield first
        yield second
        operator.revoke("north")
        yield from rest

    assert SiloNotEnrolled is type(refusal(lambda: north.send(parts())))
    assert Ledger(store).contribution("harbour", 1, "north") is None


def test_uploads_over_the_limit_are_told_when_to_come_back(store):
    """With all slots taken the next silo is refused with a delay, and is admitted once a slot is free."""
    with serving(store, limits={"max_uploads": 1}) as address:
        operator = Operator(address)
        operator.create()
        north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
        delta = north.delta()
        held = north.start([header_part(delta), chunk_part(0, delta.payload[:9])])
        wrong = south.delta(payload=filled(float("nan")))
        error = refusal(lambda: south.push(wrong))
        while not isinstance(error, Overloaded):  # until the held upload has its slot
            error = refusal(lambda: south.push(wrong))
        held.cancel()
        admitted = eventually(lambda: south.push(south.delta(name="other")), unless=Overloaded)

    assert error.retry_after_seconds > 0
    assert "south" == admitted.silo


def test_undecodable_part_is_the_callers_fault(north):
    """Bytes that are no message end in INVALID_ARGUMENT, in the middle of a stream too."""
    call = north.channel.stream_unary("/isthmus.v1.AggregatorService/PushDelta")
    header = header_part(north.delta()).SerializeToString()

    for parts in ([b"\xff\xff"], [header, b"\xff\xff\xff"]):
        with pytest.raises(RequestInvalid), told():
            call(iter(parts), metadata=north.metadata, timeout=10)


def test_pause_during_an_upload_keeps_the_delta_out(operator, address):
    """Nothing is admitted once the operator paused the federation, not even an upload that began before."""
    silo = Silo(address, operator.invite("north"))
    delta = silo.delta()

    def parts():
        *first, finish = parts_of(delta)
        yield from first
        time.sleep(0.5)  # the header was judged while the federation ran
        operator.set_state(PAUSED)
        yield finish

    assert FederationPaused is type(refusal(lambda: silo.send(parts())))
    assert not operator.status().silos[0].HasField("receipt")
