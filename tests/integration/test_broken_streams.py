"""Uploads that break in every way a stream can: what arrived is kept, nothing half-sent counts, any replica goes on."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from aggregator.ledger import Ledger
from aggregator.rpc.incoming import max_segments
from aggregator.stores import open_store
from isthmus.credentials import save_credentials
from isthmus.errors import FinishMissing, OffsetMismatch, QuotaExceeded, StoreFull
from tests.faulty_store import FaultyStore
from tests.rosters import TINY
from tests.serving import (
    LARGE,
    MIB,
    Operator,
    Silo,
    chunk_part,
    definition,
    delta_of,
    eventually,
    header_part,
    never_ending,
    opening_of,
    projector_of,
    refusal,
    serving,
)

ROOT = Path(__file__).parents[2]

ARRIVAL_SECONDS = 1.0
"""Long enough for some of the bytes to arrive, on a machine that has much to do."""


@pytest.fixture
def store(tmp_path):
    """All state, in a folder."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def north(address):
    """The one silo of a federation with a large projector."""
    return silo_of(address)


def silo_of(address, spec=LARGE):
    """Creates the federation and enrols its silo."""
    operator = Operator(address)
    operator.create(definition(quorum=1), projector=projector_of(spec))
    return Silo(address, operator.invite("north"))


def cut_by_cancel(silo, parts):
    """The silo cancels."""
    call = silo.start(parts)
    time.sleep(ARRIVAL_SECONDS)
    call.cancel()


def cut_by_deadline(silo, parts):
    """The silo's deadline passes."""
    silo.stub.PushDelta.future(never_ending(parts), metadata=silo.metadata, timeout=ARRIVAL_SECONDS).exception()


def cut_by_close(silo, parts):
    """The silo closes its channel."""
    other = Silo(silo.address, silo.credentials)
    call = other.start(parts)
    time.sleep(ARRIVAL_SECONDS)
    other.channel.close()
    assert call.done()


@pytest.mark.parametrize("cut", [cut_by_cancel, cut_by_deadline, cut_by_close])
def test_cut_stream_keeps_what_arrived_and_counts_nothing(store, north, cut):
    """However a stream is cut, what arrived is durable though no segment was full, and only finish commits."""
    delta = north.delta(LARGE)

    cut(north, opening_of(delta, 2 * MIB + 17))

    committed = eventually(lambda: north.push_status(delta).committed_bytes)
    assert Ledger(store).contribution("harbour", 1, "north") is None
    with serving(store) as elsewhere:
        receipt = Silo(elsewhere, north.credentials).push(delta, start=committed)
    assert delta.header.payload_digest == receipt.payload_digest


def test_stream_that_ends_without_finish_counts_nothing(store, north):
    """All bytes sent and the stream closed normally is not an upload: it is kept to the last byte, and not counted."""
    delta = north.delta(LARGE)

    error = refusal(lambda: north.send(opening_of(delta, len(delta.payload))))

    assert (FinishMissing, len(delta.payload)) == (type(error), north.push_status(delta).committed_bytes)
    assert Ledger(store).contribution("harbour", 1, "north") is None
    assert delta.header.payload_digest == north.push(delta, start=len(delta.payload)).payload_digest


PUSHER = """
import sys, time
sys.path[:0] = {paths!r}
from isthmus.credentials import load_credentials
from tests.serving import LARGE, MIB, Silo, opening_of
silo = Silo({address!r}, load_credentials({credentials!r}))
call = silo.start(opening_of(silo.delta(LARGE), 2 * MIB + 17))
time.sleep({seconds})
print("sent", flush=True)
time.sleep(60)
"""


def test_killed_silo_process_leaves_a_resumable_upload(store, address, north, tmp_path):
    """A silo that dies by SIGKILL in mid-stream resumes where its bytes ended; nothing was counted meanwhile."""
    delta = north.delta(LARGE)
    save_credentials(tmp_path / "north.pem", north.credentials.pem)
    code = PUSHER.format(
        paths=[str(ROOT), str(ROOT / "common")],
        address=address,
        credentials=str(tmp_path / "north.pem"),
        seconds=ARRIVAL_SECONDS,
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"sent\n"
        process.kill()

    committed = eventually(lambda: north.push_status(delta).committed_bytes)
    assert Ledger(store).contribution("harbour", 1, "north") is None
    assert delta.header.payload_digest == north.push(delta, start=committed).payload_digest


def test_draining_replica_stages_what_arrived(store):
    """When a replica drains under an upload, the bytes it had are there for the next replica."""
    with serving(store) as address:
        north = silo_of(address)
        delta = north.delta(LARGE)
        call = north.start(opening_of(delta, 2 * MIB + 17))
        time.sleep(ARRIVAL_SECONDS)
    with serving(store) as elsewhere:
        north = Silo(elsewhere, north.credentials)
        committed = north.push_status(delta).committed_bytes

        assert call.exception(timeout=10) is not None
        assert committed > 0
        assert delta.header.payload_digest == north.push(delta, start=committed).payload_digest


def test_newest_stream_takes_an_upload_over(north):
    """A silo that comes back does not wait for the aggregator to notice that its old connection is dead."""
    delta = north.delta(LARGE)
    old = north.start(opening_of(delta, MIB))
    time.sleep(ARRIVAL_SECONDS)

    error = refusal(lambda: north.push(delta))

    assert (OffsetMismatch, str(MIB)) == (type(error), error.details["committedBytes"])
    assert old.exception(timeout=10) is not None
    assert delta.header.payload_digest == north.push(delta, start=MIB).payload_digest


def test_upload_in_too_many_crumbs_is_joined_and_never_gets_shorter(store, address):
    """However often a stream breaks, each stream goes on where the last one ended, and few segments are counted."""
    north = silo_of(address, TINY)
    payload = delta_of(TINY, "delta")
    delta = north.delta(TINY, payload=payload)
    num_crumbs = max_segments(len(payload)) + 3
    for position in range(num_crumbs):
        parts = [header_part(delta), chunk_part(position, payload[position : position + 1])]
        assert isinstance(refusal(lambda parts=parts: north.send(parts)), FinishMissing)
        assert position + 1 == north.push_status(delta).committed_bytes

    assert delta.header.payload_digest == north.push(delta, start=num_crumbs).payload_digest
    assert len(Ledger(store).contribution("harbour", 1, "north").segments) <= 4


def test_silo_that_staged_its_quota_is_refused_until_the_next_round(store):
    """Deltas that were begun and left, or refused, use up a quota that every replica reads from the store."""
    limits = {"max_attempts_per_silo": 2}
    with serving(store, limits=limits) as address:
        north = silo_of(address)
        begun = [north.delta(LARGE, name=f"delta-{number}") for number in range(3)]
        for delta in begun[:2]:
            refusal(lambda delta=delta: north.send(opening_of(delta, MIB)))
    with serving(store, limits=limits) as elsewhere:
        north = Silo(elsewhere, north.credentials)
        error = refusal(lambda: north.push(begun[2]))

        assert (QuotaExceeded, "2", "2") == (type(error), error.details["measured"], error.details["limit"])
        assert begun[0].header.payload_digest == north.push(begun[0], start=MIB).payload_digest


def test_full_store_keeps_what_was_durable(tmp_path):
    """A disk that fills under an upload is told with a delay; what was durable stays, and the push goes on later."""
    store = FaultyStore(open_store(str(tmp_path / "store")))
    with serving(store) as address:
        north = silo_of(address)
        delta = north.delta(LARGE)
        refusal(lambda: north.send(opening_of(delta, MIB)))
        store.full()
        error = refusal(lambda: north.push(delta, start=MIB))
        kept = north.push_status(delta).committed_bytes
        store.back()

        assert (StoreFull, 3.0, MIB) == (type(error), error.retry_after_seconds, kept)
        assert delta.header.payload_digest == north.push(delta, start=MIB).payload_digest
