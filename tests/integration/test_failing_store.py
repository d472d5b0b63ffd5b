"""A replica whose store fails: callers are told when to come back, health says so, and all goes on afterwards."""

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aggregator.check import probe
from aggregator.server import SERVICES
from aggregator.stores import open_store
from isthmus.errors import ConfigInvalid, StoreFull, StoreUnavailable
from tests.faulty_store import FaultyStore
from tests.rosters import TINY
from tests.serving import Operator, Silo, connected, eventually, projector_of, refusal, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def store():
    """A store that can be told to fail."""
    return FaultyStore(open_store("memory:"))


@pytest.fixture
def address(store):
    """A replica over it."""
    with serving(store) as address:
        yield address
        store.back()


def health_of(address, service=""):
    """What the replica says of its health."""
    with connected(address, None) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status


def test_every_call_tells_when_to_come_back(store, address):
    """With the store away, silos and operators get UNAVAILABLE with the delay that the store asked for."""
    operator = Operator(address)
    operator.create()
    silo = Silo(address, operator.invite("north"))
    delta = silo.delta()
    store.away()

    for call in (silo.round, lambda: silo.pull(number=0), lambda: silo.push(delta), operator.status, operator.create):
        error = refusal(call)
        assert (StoreUnavailable, 3.0) == (type(error), error.retry_after_seconds)
    store.back()
    assert 1 == silo.push(delta).round


def test_silos_are_not_told_where_the_store_is(store, address):
    """A failing store's own words reach the operator, and never a silo."""
    operator = Operator(address)
    operator.create()
    silo = Silo(address, operator.invite("north"))
    store.away()

    assert "The store failed in" in str(refusal(operator.status))
    assert "The store failed in" not in str(refusal(silo.round))


def test_health_follows_the_store(store, address):
    """NOT_SERVING while the store is away, for every service; SERVING again when it is back."""
    assert [SERVING] * (1 + len(SERVICES)) == [health_of(address, service) for service in ("", *SERVICES)]
    store.away()
    assert eventually(
        lambda: [NOT_SERVING] * (1 + len(SERVICES)) == [health_of(address, service) for service in ("", *SERVICES)]
    )
    store.back()
    assert eventually(lambda: health_of(address) == SERVING)


def test_full_store_leaves_nothing_half_written(store, address):
    """A federation or a silo that could not be written is not there, and can be created once there is room."""
    operator = Operator(address)
    store.full()
    assert StoreFull is type(refusal(operator.create))
    store.back()
    assert operator.create(projector=projector_of(TINY)).created
    store.full()
    assert StoreFull is type(refusal(lambda: operator.invite("north")))
    store.back()
    assert 0 == len(operator.status().silos)
    assert operator.invite("north")


def test_rounds_go_on_when_the_store_is_back(store, address):
    """A round that became due while nothing could be written is cut once there is room."""
    operator = Operator(address)
    operator.create()
    north, south = (Silo(address, operator.invite(name)) for name in ("north", "south"))
    north.push(north.delta())
    store.full()
    operator_waits = operator.status().waiting_for
    store.back()
    south.push(south.delta(name="other"))

    assert "south" in operator_waits
    assert 2 == north.round(after_round=1, wait_seconds=20).round


def test_replica_does_not_start_without_its_store(store):
    """A store that does not answer is told at the start, not to the first silo."""
    store.away()
    with pytest.raises(StoreUnavailable), serving(store):
        pass


class Forgetful(FaultyStore):
    """A store that overwrites what it should create only once."""

    def put_if_absent(self, key, content):
        """Breaks the contract."""
        self.store.put(key, content)
        return True


def test_check_finds_a_store_that_overwrites():
    """A bucket without conditional writes is found before a round is cut twice on it."""
    with pytest.raises(ConfigInvalid, match="only once"):
        probe(Forgetful(open_store("memory:")))
