"""What a call costs where there are many silos."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from aggregator.stores import open_store
from benchmarks.simulate.counting import CountingStore
from isthmus.credentials import save_credentials
from isthmus.operator_client import OperatorClient
from isthmus.v1 import aggregator_pb2
from tests import pki
from tests.serving import Operator, Silo, serving


@pytest.fixture
def store() -> CountingStore:
    """All state, and how often it is asked."""
    return CountingStore(open_store("memory:"))


def settled(store: CountingStore) -> Counter[str]:
    """All counts, once nobody asks any more."""
    before, now = None, store.counts.copy()
    while now != before:
        time.sleep(0.02)
        before, now = now, store.counts.copy()
    return now


def cost(store: CountingStore, call: Callable[[], object]) -> Counter[str]:
    """What a call asks of the store; what the one before set going has ended."""
    before = settled(store)
    call()
    return store.counts - before


def test_invitation_reads_no_other_silo(store: CountingStore, tmp_path: Path) -> None:
    """The operator's client reads as little for the thirtieth invitation as for the second."""
    save_credentials(tmp_path / "operator.pem", pki.operator().pem)
    with serving(store, advance_interval_seconds=60.0) as address:
        Operator(address).create()
        with OperatorClient(address, credentials=tmp_path / "operator.pem") as operator:
            reads = [
                cost(store, lambda number=number: operator.invite("harbour", f"silo-{number}"))["get"]  # type: ignore[misc]
                for number in range(30)
            ]

    assert reads[29] <= reads[1] + 10  # what the advancing loop, woken, reads meanwhile


def test_crowd_that_asks_for_the_round_lists_it_once(store: CountingStore) -> None:
    """Of twenty silos that ask within a while of each other, one has the round's silos and contributions listed."""
    with serving(store, advance_interval_seconds=60.0, poll_interval_seconds=60.0) as address:
        operator = Operator(address)
        operator.create()
        silos = [Silo(address, operator.invite(f"silo-{number}")) for number in range(20)]
        of_one = cost(store, silos[0].round)
        of_all = cost(store, lambda: [silo.round() for silo in silos])

    assert (True, 0) == (of_one["list"] > 0, of_all["list"])


def test_round_that_others_asked_for_before_is_no_old_one(store: CountingStore) -> None:
    """What one silo's question found serves others for its words alone: state, round and receipt are today's."""
    with serving(store, advance_interval_seconds=0.05, poll_interval_seconds=60.0) as address:
        operator = Operator(address)
        operator.create()
        north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
        first = south.round()
        receipt = north.push(north.delta(name="north"))
        assert (receipt.round, False) == (north.round().receipt.round, south.round().HasField("receipt"))
        south.push(south.delta(name="south"))
        second = south.round(after_round=1, wait_seconds=20)
        operator.set_state(aggregator_pb2.FEDERATION_STATE_PAUSED)
        paused = north.round()

    assert (1, 2, False) == (first.round, second.round, first.base_digest == second.base_digest)
    assert (aggregator_pb2.FEDERATION_STATE_PAUSED, False) == (paused.state, paused.HasField("deadline"))
