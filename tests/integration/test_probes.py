"""The port for probes: health in plaintext and nothing else, alive while the store is away."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aggregator.config import AggregatorConfig
from aggregator.probes import LIVE
from aggregator.server import Aggregator
from aggregator.stores import MemoryStore
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc
from tests import pki
from tests.faulty_store import AWAY, Faults, FaultyStore
from tests.integration.test_aggregator_process import command
from tests.serving import eventually

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@contextmanager
def probed(store) -> Iterator[str]:
    """A replica over TLS that answers probes in plaintext; where."""
    config = AggregatorConfig(
        **{"listen": "127.0.0.1:0", "store": "given", "drain_seconds": 0.2, "advance_interval_seconds": 0.1},
        **{**pki.settings(), "enrolment": None},
        health_listen="127.0.0.1:0",
    )
    replica = Aggregator(config, store)
    try:
        yield f"127.0.0.1:{replica.health_port}"
    finally:
        replica.stop()


def asked(address: str, service: str = "") -> int:
    """What the port says of a service, as kubelet asks."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def test_probe_without_tls_is_answered():
    """A prober without certificate hears that the replica lives and serves; of a name unknown it hears NOT_FOUND."""
    with probed(MemoryStore()) as address:
        assert [SERVING, SERVING] == [asked(address), asked(address, LIVE)]
        with pytest.raises(grpc.RpcError) as caught:
            asked(address, "no-such-service")
        assert grpc.StatusCode.NOT_FOUND == caught.value.code()


def test_port_answers_nothing_else():
    """No call of ours, and no Watch, which would hold a place, is known at the port that speaks plaintext."""
    with probed(MemoryStore()) as address, grpc.insecure_channel(address) as channel:
        silos, health = aggregator_pb2_grpc.AggregatorServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        for call in (
            lambda: silos.GetRound(aggregator_pb2.GetRoundRequest(), timeout=10),
            lambda: next(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()


def test_store_that_is_away_is_no_reason_to_restart():
    """While the store is away the replica does not serve, and lives."""
    store = FaultyStore(MemoryStore())
    with probed(store) as address:
        store.faults = AWAY
        assert eventually(lambda: asked(address) == NOT_SERVING)
        assert SERVING == asked(address, LIVE)
        store.faults = Faults()
        assert eventually(lambda: asked(address) == SERVING)


def test_calls_that_say_nothing_do_not_keep_probes_out():
    """Many callers that open a call and send no message leave the prober its answer."""
    own = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own, as another machine has
    with probed(MemoryStore()) as address, grpc.insecure_channel(address, own) as channel:
        opened = channel.stream_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        ended = threading.Event()
        calls = [opened.future(_silence(ended), timeout=20) for _ in range(40)]
        assert SERVING == asked(address, LIVE)
        ended.set()
        for call in calls:
            call.cancel()


def _silence(ended: threading.Event) -> Iterator[health_pb2.HealthCheckRequest]:
    """A stream of requests that brings none until it may end."""
    ended.wait(20)
    yield from ()


def test_process_says_where_it_is_probed(tmp_path):
    """The ready line names the port, `health` asks there, and SIGTERM ends it well."""
    settings = pki.toml('listen = "127.0.0.1:0"\nstore = "store"\nhealth_listen = "127.0.0.1:0"\ndrain_seconds = 0.2\n')
    config = tmp_path / "aggregator.toml"
    config.write_text(settings)
    with subprocess.Popen(
        command("serve", "--config", config), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        address = line.split(" health: ")[1].strip()
        assert SERVING == asked(address, LIVE)
        health = command("health", "--config", config, "--set", f"health_listen={address}")
        assert "serving\n" == subprocess.run(health, capture_output=True, text=True, timeout=60, check=True).stdout
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=30)
