"""Asking the replica of this machine for its health: run every few seconds, so it imports next to nothing."""

import socket

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aggregator.config import AggregatorConfig, host_and_port
from aggregator.setup import read_pem
from isthmus.certificates import read_certificates

_HEALTH_SECONDS = 5.0


def is_healthy(config: AggregatorConfig) -> bool:
    """Whether the replica that listens with these settings says SERVING.

    It is asked where probes are answered, if they are. Else, over TLS, at the enrolment port, which wants no
    certificate of its callers; where there is none, whether its port takes connections is all that can be told.
    """
    if config.health_listen is None and config.tls is not None and config.enrolment is None:
        return _port_answers(*_here(config.listen))
    with _channel(config) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _channel(config: AggregatorConfig) -> grpc.Channel:
    """To this machine's own replica, whatever names its certificate is for."""
    if config.health_listen or config.tls is None or config.enrolment is None:
        host, port = _here(config.health_listen or config.listen)
        return grpc.insecure_channel(f"{host}:{port}")
    host, port = _here(config.enrolment.listen)
    pem = read_pem(config.tls.certificate)
    names = read_certificates(pem, where=str(config.tls.certificate))[0].names
    trust = grpc.ssl_channel_credentials(read_pem(config.tls.authority or config.tls.certificate).encode())
    return grpc.secure_channel(
        f"{host}:{port}", trust, options=(("grpc.ssl_target_name_override", names[0] if names else host),)
    )


def _here(listen: str) -> tuple[str, int]:
    """How this machine reaches what listens there."""
    host, port = host_and_port(listen)
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host), port  # nosec B104  # translated, not bound


def _port_answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host.strip("[]"), port), timeout=_HEALTH_SECONDS).close()
    except OSError:
        return False
    return True
