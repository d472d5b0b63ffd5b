"""What an aggregator bears from silos: slow streams, many uploads, a full store; over real sockets."""

import time

import grpc
import pytest

from aggregator.stores import open_store
from isthmus.errors import FinishMissing, OffsetMismatch, RateLimited, StoreFull, UploadTooSlow
from isthmus.status import error_of
from tests.faulty_store import FaultyStore
from tests.rosters import TINY
from tests.serving import (
    LARGE,
    MIB,
    Operator,
    Silo,
    chunk_part,
    definition,
    eventually,
    header_part,
    opening_of,
    projector_of,
    refusal,
    serving,
)

SLOW = {"slow_seconds": 1.0, "min_upload_bytes_per_second": 2 * MIB}
"""A silo must send 2 MiB a second, so that no test takes long."""

SOON_SECONDS = 15.0
"""A cut comes within this time, on a machine that has much to do; well before the call's own deadline."""


@pytest.fixture
def store(tmp_path):
    """All state, in a folder."""
    return FaultyStore(open_store(str(tmp_path / "store")))


def silo_of(address, spec=LARGE):
    """Creates the federation and enrols its silo."""
    operator = Operator(address)
    operator.create(definition(quorum=1), projector=projector_of(spec))
    return Silo(address, operator.invite("north"))


def ended(call):
    """The error that a call which the silo left open ends in."""
    with pytest.raises(grpc.RpcError) as caught:
        call.result(timeout=SOON_SECONDS)
    return error_of(caught.value)


def crumbs(delta):
    """The header, then a byte now and then, without an end."""
    yield header_part(delta)
    for at in range(len(delta.payload)):
        yield chunk_part(at, delta.payload[at : at + 1])
        time.sleep(0.2)


@pytest.mark.parametrize("num_bytes", [0, MIB, 5 * MIB + 17], ids=["nothing", "a chunk", "more than a segment"])
def test_silent_upload_is_told_and_kept(store, num_bytes):
    """A silo that sends its header, or some bytes, and then nothing, hears UPLOAD_TOO_SLOW; what arrived is resumed."""
    with serving(store, limits=SLOW) as address:
        north = silo_of(address)
        delta = north.delta(LARGE)

        error = ended(north.start(opening_of(delta, num_bytes)))
        eventually(lambda: num_bytes == north.push_status(delta).committed_bytes)
        receipt = north.push(delta, start=num_bytes)

        assert (UploadTooSlow, str(2 * MIB)) == (type(error), error.details["limitBytesPerSecond"])
        assert delta.header.payload_digest == receipt.payload_digest


def test_crumbs_are_told_and_kept(store):
    """A silo that sends a byte now and then is cut off as one that sends nothing is, and its bytes are kept."""
    with serving(store, limits=SLOW) as address:
        north = silo_of(address)
        delta = north.delta(LARGE)

        error = refusal(lambda: north.send(crumbs(delta)))

        assert UploadTooSlow is type(error)
        assert 0 < eventually(lambda: north.push_status(delta).committed_bytes) < 1000


def test_slot_of_a_slow_upload_is_free_again(store):
    """Who is cut off gives his slot to others, however many hang on: an honest silo is served in the end."""
    with serving(store, limits=SLOW | {"max_uploads": 2, "max_uploads_per_silo": 2}) as address:
        north = silo_of(address)
        south = Silo(address, Operator(address).invite("south"))
        hanging = [north.start(opening_of(north.delta(LARGE, name=str(n)), MIB)) for n in range(2)]
        delta = south.delta(LARGE)

        receipt = eventually(lambda: south.push(delta))

        assert receipt.payload_digest == delta.header.payload_digest
        assert [UploadTooSlow] * 2 == [type(ended(call)) for call in hanging]


def test_thin_line_is_let_through_where_the_operator_says_so(store):
    """The same crumbs are no reason to cut a silo off where the limit is a byte a second."""
    with serving(store, limits={"slow_seconds": 1.0, "min_upload_bytes_per_second": 1}) as address:
        north = silo_of(address, TINY)
        delta = north.delta(TINY)

        error = refusal(lambda: north.send(crumbs(delta.but()), timeout=4.0))

        assert "DEADLINE_EXCEEDED" == error.details["grpcCode"]


def test_slow_store_is_no_slow_silo(store):
    """While the store takes its time for what a silo sent, the silo is not cut off."""
    with serving(store, limits=SLOW) as address:
        north = silo_of(address)
        delta = north.delta(LARGE)
        store.suffer(type(store.faults)(slow_seconds=0.4))

        receipt = north.push(delta)

        assert receipt.payload_digest == delta.header.payload_digest


def test_uploads_of_an_hour_are_counted(store):
    """One upload more than the hour allows is told when it may begin; a resumed one, and another silo's, go through."""
    with serving(store, limits={"max_uploads_per_hour": 2}) as address:
        north = silo_of(address, TINY)
        south = Silo(address, Operator(address).invite("south"))
        broken = north.delta(TINY, name="broken")
        ends = [type(refusal(lambda: north.send(opening_of(broken, 10)))) for _ in range(4)]
        refusal(lambda: north.send(opening_of(north.delta(TINY, name="second"), 10)))

        error = refusal(lambda: north.push(north.delta(TINY, name="third")))

        assert [FinishMissing, *[OffsetMismatch] * 3] == ends
        assert (RateLimited, "2") == (type(error), error.details["limit"])
        assert 3500 < error.retry_after_seconds <= 3600
        assert south.push(south.delta(TINY)).silo == "south"
        assert north.push(broken, start=10).payload_digest == broken.header.payload_digest


def test_share_of_the_store_is_kept_to(store):
    """A federation whose share is used up is told so with a delay, others go on, and so does every pull."""
    share = len(projector_of(LARGE)) + 8 * MIB
    with serving(store, limits={"max_store_bytes_per_federation": share}) as address:
        north = silo_of(address)
        operator = Operator(address)
        operator.create(definition("another", quorum=1))
        other = Silo(address, operator.invite("north", federation="another"), federation="another")

        error = refusal(lambda: north.push(north.delta(LARGE)))

        assert (StoreFull, str(share)) == (type(error), error.details["limit"])
        assert 0 < error.retry_after_seconds <= 60
        assert projector_of(LARGE) == north.pull(number=0)[1]
        assert other.push(other.delta(TINY)).silo == "north"


def test_full_store_is_told_as_that_and_read_on(store):
    """A store without room is STORE_FULL and says nothing of where it is; rounds and projectors are told as before."""
    with serving(store) as address:
        north = silo_of(address)
        delta = north.delta(LARGE)
        store.full()

        error = refusal(lambda: north.push(delta))

        assert (StoreFull, 3.0, False) == (type(error), error.retry_after_seconds, "failed in" in str(error))
        assert (1, projector_of(LARGE)) == (north.round().round, north.pull(number=0)[1])
        store.back()
        assert delta.header.payload_digest == north.push(delta).payload_digest
