"""Trying a configuration before it serves, and asking a running replica for its health."""

import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aggregator.config import AggregatorConfig, Enrolment, host_and_port
from aggregator.setup import read_pem, read_signing_key, scratch_folders
from aggregator.sharding.cluster import combining_of
from aggregator.stores import Store, open_store
from aggregator.tls import ServerTls
from aggregator.trust_domains import vouchers_in
from aggregator.vouching import Authorities
from isthmus.authority import load_authority
from isthmus.certificates import read_certificates
from isthmus.errors import ConfigInvalid
from isthmus.spiffe import operator_spiffe_id

_PROBE = b"isthmus"
_HEALTH_SECONDS = 5.0


def check(config: AggregatorConfig) -> Iterator[str]:
    """Says, line by line, what works.

    Raises:
        ConfigInvalid: Something does not; names it.
        StoreUnavailable: The store does not answer.
    """
    read_signing_key(config.signing_key)
    authorities = Authorities(config.client_authorities, clock=lambda: datetime.now(UTC))
    if config.tls is not None:
        ServerTls(config.tls, authorities)
    if config.enrolment is not None:
        _require_vouched_for(config, config.enrolment, authorities)
    yield f"settings: right; trust domain {config.trust_domain}, {'TLS' if config.tls else 'plaintext on loopback'}"
    scratch_folders(config).close()
    yield f"scratch: {config.scratch or 'the temporary folder of the system'} can be written"
    store = open_store(config.store)
    probe(store)
    yield f"store: {config.store} writes, creates only once, reads, lists and deletes"
    if config.combine.by == "ray":
        combining_of(config, store)
        yield f"combine: the Ray cluster at {config.combine.address} reads the store and runs this replica's code"


def _require_vouched_for(config: AggregatorConfig, enrolment: Enrolment, authorities: Authorities) -> None:
    """Checks that the aggregator would let in whom it issues certificates to."""
    pems = [read_pem(path).encode() for path in (enrolment.certificate, enrolment.key)]
    issuer = load_authority(*pems, where="[enrolment]")
    vouchers = vouchers_in(authorities.pem, where=str(config.client_authorities))
    if issuer.certificate not in vouchers.may_vouch(operator_spiffe_id(config.trust_domain, "operator")):
        named = ", ".join(domain or "none" for domain in vouchers.trust_domains)
        raise ConfigInvalid(
            f"enrolment.certificate {enrolment.certificate} issues certificates of trust_domain {config.trust_domain}, "
            f"and would take none of them: it is not in {config.client_authorities}, or names another trust domain "
            f"(the authorities there name: {named}). Correct trust_domain, or client_authorities."
        )


def probe(store: Store) -> None:
    """Tries every verb on one key of its own, which is gone afterwards.

    Raises:
        ConfigInvalid: The store does not keep its contract; above all, that a key is created only once.
    """
    key = f"checks/{secrets.token_hex(8)}"
    try:
        created, again = store.put_if_absent(key, _PROBE), store.put_if_absent(key, b"another")
        if (created, again, store.get(key)) != (True, False, _PROBE):
            raise ConfigInvalid(
                "The store overwrote a key that was to be created only once, so rounds could be cut twice. Use one "
                "that supports conditional writes (If-None-Match)."
            )
        if key not in [entry.key for entry in store.list("checks")]:
            raise ConfigInvalid("The store does not list what was just written, so contributions could be missed.")
    finally:
        store.delete(key)


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
