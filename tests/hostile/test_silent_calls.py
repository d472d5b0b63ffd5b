"""Calls that begin and say nothing: whoever makes them, everybody else is served."""

import threading
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aggregator.config import Limits
from aggregator.stores import open_store
from isthmus.v1 import admin_pb2, projector_pb2
from tests import pki
from tests.serving import Operator, Silo, connected, serving

LIMITS = {"max_uploads": 2, "max_pulls": 1, "max_waiting_polls": 1, "idle_seconds": 0.5}
NUM_CALLS = Limits.model_validate(LIMITS).max_calls + 100
"""More than the replica has threads and places in its queue."""

PER_CONNECTION = 50
"""Calls of one connection; the aggregator takes 64."""

GET_ROUND = "/isthmus.v1.AggregatorService/GetRound"
ENROL = "/isthmus.v1.EnrolmentService/Enrol"
CHECK = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@contextmanager
def silent_calls(address, path, credentials):
    """Very many calls of this method that never send a message."""
    ended = threading.Event()

    def nothing():
        ended.wait(60)
        yield from ()

    channels = [connected(address, credentials) for _ in range(-(-NUM_CALLS // PER_CONNECTION))]
    calls = [channels[number // PER_CONNECTION].stream_unary(path).future(nothing()) for number in range(NUM_CALLS)]
    try:
        yield calls
    finally:
        for call in calls:
            call.cancel()
        ended.set()
        for channel in channels:
            channel.close()


@pytest.mark.parametrize(
    ("path", "credentials"),
    [(GET_ROUND, None), (GET_ROUND, pki.silo("stranger")), (ENROL, None), (CHECK, None), (REFLECTION, None)],
    ids=["nobody", "nobody enrolled", "newcomers", "health", "reflection"],
)
def test_calls_without_a_message_keep_nobody_out(path, credentials):
    """More silent calls than the replica has threads: silos, operators and health are answered all the same."""
    with serving(open_store("memory:"), limits=LIMITS, reflection=True) as address:
        operator = Operator(address)
        operator.create()
        north = Silo(address, operator.invite("north"))
        with silent_calls(address, path, credentials):
            for _ in range(20):
                assert 1 == north.round().round
                assert "harbour" == operator.status().summary.federation
                with connected(address, None) as channel:
                    request = health_pb2.HealthCheckRequest()
                    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=20)
                assert health_pb2.HealthCheckResponse.SERVING == answer.status


def test_call_without_credential_is_refused_before_its_first_message():
    """A stranger's silent call ends at once with UNAUTHENTICATED and holds nothing."""
    with (
        serving(open_store("memory:")) as address,
        connected(address, None) as channel,
    ):
        never = threading.Event()
        call = channel.stream_unary(GET_ROUND).future(iter(never.wait, True))
        error = call.exception(timeout=20)
        never.set()

    assert grpc.StatusCode.UNAUTHENTICATED is error.code()


def test_creation_that_stands_still_is_cut_off():
    """A creation that sends no byte for too long ends, and another one may begin in its place."""
    with serving(open_store("memory:"), limits=LIMITS) as address:
        operator = Operator(address)
        ended = threading.Event()

        def parts():
            yield admin_pb2.CreateFederationRequest(
                definition=admin_pb2.FederationDefinition(
                    toml=b'name="harbour"\nrounds=1\nparticipation.silos={min=1,max=1}\n'
                    b"plan.learning_rate={initial=0.1}",
                    projector_size_bytes=100,
                )
            )
            yield admin_pb2.CreateFederationRequest(chunk=projector_pb2.Chunk(data=b"x"))
            ended.wait(60)

        call = operator.stub.CreateFederation.future(parts())
        error = call.exception(timeout=30)
        ended.set()

        assert grpc.StatusCode.CANCELLED is error.code()
        assert operator.create().created
