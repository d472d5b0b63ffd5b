"""Rounds as silos see them: GetRound, PullProjector, and a federation that walks to its end."""

import hashlib
import threading
import time

import pytest

from isthmus.errors import OffsetOutOfRange, ProjectorUnknown, RequestInvalid
from isthmus.v1 import admin_pb2, aggregator_pb2
from isthmus.wire import receipt_from_proto, spec_from_proto
from tests.rosters import TINY
from tests.serving import LARGE, Operator, Silo, projector_of, refusal, serving

RUNNING = aggregator_pb2.FEDERATION_STATE_RUNNING
PAUSED = aggregator_pb2.FEDERATION_STATE_PAUSED
FINISHED = aggregator_pb2.FEDERATION_STATE_FINISHED


def test_federation_walks_to_its_end(operator, address):
    """Two silos contribute to every round; each starts from what the one before published; then it is finished."""
    silos = [Silo(address, operator.invite(name)) for name in ("north", "south")]
    digests = [silos[0].round().base_digest]
    for number in (1, 2):
        receipts = [silo.push(silo.delta(name=f"{number}-{i}")) for i, silo in enumerate(silos)]
        assert [(number, "north"), (number, "south")] == [(receipt.round, receipt.silo) for receipt in receipts]
        digests.append(silos[0].round(after_round=number, wait_seconds=20).base_digest)

    last = silos[0].round()
    lineage = operator.call("ListProjectors", admin_pb2.ListProjectorsRequest(federation="harbour")).projectors

    assert (FINISHED, 3, 2) == (last.state, last.round, last.num_rounds)
    assert digests == [manifest.digest for manifest in lineage]
    assert [b"", *digests[:2]] == [manifest.parent_digest for manifest in lineage]
    assert ["north", "south"] == list(lineage[2].silos)
    assert 1.0 == lineage[1].metrics[0].value


def test_round_tells_a_silo_all_it_needs(operator, address):
    """The answer holds the base's digest and size, the spec, the plan, the deadline and what is waited for."""
    silo = Silo(address, operator.invite("north"))
    current = silo.round()
    projector = projector_of(TINY)

    assert (RUNNING, 1) == (current.state, current.round)
    assert (hashlib.sha256(projector).digest(), len(projector)) == (current.base_digest, current.base_size_bytes)
    assert TINY == spec_from_proto(current.spec)
    assert (16, 0.01) == (current.plan.batch_size, current.plan.learning_rate)
    assert 3500 < current.deadline_remaining_seconds <= 3600
    assert "north" in current.waiting_for
    assert not current.HasField("receipt")


def test_round_shows_this_silos_receipt_and_no_others(operator, address):
    """After its push a silo sees its own receipt in the round; another silo does not."""
    north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
    receipt = north.push(north.delta())

    assert receipt == receipt_from_proto(north.round().receipt)
    assert not south.round().HasField("receipt")


def test_long_poll_answers_when_the_round_opens(operator, address):
    """A waiting silo hears of the next round when it is there, not when its wait is over."""
    north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
    north.push(north.delta())
    threading.Timer(0.5, lambda: south.push(south.delta())).start()

    started = time.monotonic()
    answer = north.round(after_round=1, wait_seconds=25)

    assert (2, True) == (answer.round, 0.4 < time.monotonic() - started < 20)


def test_long_poll_ends_when_the_operator_pauses(operator, address):
    """A pause is an answer: a waiting silo is not left waiting."""
    silo = Silo(address, operator.invite("north"))
    threading.Timer(0.3, lambda: operator.set_state(PAUSED)).start()

    assert PAUSED == silo.round(after_round=1, wait_seconds=25).state


def test_long_poll_ends_with_the_wait(operator, address):
    """Nothing happened: the caller hears that, in time."""
    silo = Silo(address, operator.invite("north"))
    started = time.monotonic()

    assert 1 == silo.round(after_round=1, wait_seconds=0.4).round
    assert 0.3 < time.monotonic() - started < 10


def test_long_poll_hears_of_another_replica(store, operator, address):
    """A round that another replica published ends a wait here."""
    north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
    with serving(store, advance_interval_seconds=60) as elsewhere:
        threading.Timer(0.5, lambda: [silo.push(silo.delta()) for silo in (north, south)]).start()

        assert 2 == Silo(elsewhere, north.credentials).round(after_round=1, wait_seconds=20).round


def test_polls_over_the_limit_are_answered_at_once(store):
    """Waiting silos cannot use up the aggregator's threads: who finds no place to wait is told the round now."""
    with serving(store, limits={"max_waiting_polls": 1}) as address:
        operator = Operator(address)
        operator.create()
        silo = Silo(address, operator.invite("north"))
        first = threading.Thread(target=lambda: silo.round(after_round=1, wait_seconds=3))
        first.start()
        time.sleep(0.5)
        started = time.monotonic()
        silo.round(after_round=1, wait_seconds=20)

        assert time.monotonic() - started < 2.5
        first.join()


def test_pull_gives_the_projector_whole_and_from_any_offset(address):
    """The bytes are the projector's, whether pulled whole, from the middle, or from the very end."""
    operator = Operator(address)
    projector = projector_of(LARGE)
    operator.create(projector=projector)
    silo = Silo(address, operator.invite("north"))

    for start in (0, 1, 8 << 20, len(projector) - 1, len(projector)):
        manifest, data = silo.pull(number=0, offset_bytes=start)
        assert projector[start:] == data
    assert (0, hashlib.sha256(projector).digest()) == (manifest.number, manifest.digest)
    assert projector == silo.pull(digest=manifest.digest)[1]


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({"number": 1}, ProjectorUnknown),
        ({"number": 2**64 - 1}, ProjectorUnknown),
        ({"digest": b"x" * 32}, ProjectorUnknown),
        ({"digest": b""}, ProjectorUnknown),
        ({}, RequestInvalid),
        ({"number": 0, "offset_bytes": 10_000}, OffsetOutOfRange),
        ({"number": 0, "offset_bytes": 2**64 - 1}, OffsetOutOfRange),
    ],
)
def test_wrong_pull_is_refused(operator, address, request_fields, expected):
    """A projector that is not there, and an offset beyond its end, are told apart."""
    silo = Silo(address, operator.invite("north"))

    assert expected is type(refusal(lambda: silo.pull(**request_fields)))


def test_replicas_answer_alike(store, operator, address):
    """Any replica over the store tells the same round and gives the same bytes."""
    credentials = operator.invite("north")
    with serving(store) as elsewhere:
        here, there = Silo(address, credentials), Silo(elsewhere, credentials)

        assert here.round().base_digest == there.round().base_digest
        assert here.pull(number=0) == there.pull(number=0)
