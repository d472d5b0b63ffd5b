"""Whether the aggregator can be reached at all: its name, its port, its certificate. Each finding says what to do."""

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from isthmus.addresses import TLS_PREFIX, Address, Endpoint
from isthmus.errors import ConfigInvalid
from isthmus.trust import system_authorities
from silo_agent.certificates import read_certificate

TIMEOUT_SECONDS = 5.0


class Finding(NamedTuple):
    """One line of a check-up: what was looked at, whether it is well, and what was found or is to be done."""

    name: str
    ok: bool
    words: str


def reach(address: Address, *, ca_pem: str, now: datetime) -> Iterator[Finding]:
    """Looks for the aggregator step by step, at every host of its address; a step that fails ends that host's.

    Args:
        address: As the configuration names it.
        ca_pem: Certificates of the authority that the credentials name; "" where they name none.
        now: The silo's clock, to judge the certificate's dates by.
    """
    try:
        trusted = _trusted(address, ca_pem=ca_pem)
    except ConfigInvalid as error:
        yield Finding("tls", False, str(error))
        return
    for endpoint in address.endpoints:
        yield from _reach(endpoint, trusted=trusted, now=now)


class _Trusted(NamedTuple):
    """Who is trusted to vouch for the aggregator."""

    pem: str
    """"": no TLS is expected."""
    source: str
    """Who says so, as the subject and verb of a sentence."""
    change: str
    """What to do when they do not vouch for it."""


def _trusted(address: Address, *, ca_pem: str) -> _Trusted:
    if ca_pem or not address.system_tls:
        return _Trusted(ca_pem, "the credentials name an authority to trust", "Ask the operator for new credentials")
    return _Trusted(system_authorities(), f"`aggregator` begins with {TLS_PREFIX}", "Update this system's authorities")


def _reach(endpoint: Endpoint, *, trusted: _Trusted, now: datetime) -> Iterator[Finding]:
    if endpoint.name_server:
        yield Finding("dns", True, f"{endpoint.host} is asked of {endpoint.name_server}, which is not looked at here.")
        return
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as error:
        words = (
            f"{endpoint.host} has no address ({error}). Correct `aggregator`, or ask your network's people about its "
            "DNS."
        )
        yield Finding("dns", False, words)
        return
    yield Finding("dns", True, f"{endpoint.host} is {', '.join(sorted({str(row[4][0]) for row in found}))}.")
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        words = (
            f"Nothing answers at port {endpoint.port} of {endpoint.host} ({error}). Is the aggregator running, and "
            f"does a firewall let connections to {endpoint} out of this site?"
        )
        yield Finding("port", False, words)
        return
    yield Finding("port", True, f"{endpoint} takes connections.")
    yield _judge_tls(endpoint, trusted=trusted, now=now)


def _judge_tls(endpoint: Endpoint, *, trusted: _Trusted, now: datetime) -> Finding:
    presented = _presented(endpoint)
    if not trusted.pem:
        if presented is None:
            return Finding("tls", True, "The connection is not encrypted: the credentials name no authority to trust.")
        words = (
            "The aggregator wants TLS, but the credentials name no authority to trust. Ask for new ones; or, if a "
            f"public authority vouches for its certificate, write tls://{endpoint} in `aggregator`."
        )
        return Finding("tls", False, words)
    if presented is None:
        words = f"{endpoint} does not speak TLS, but {trusted.source}. Correct `aggregator`."
        return Finding("tls", False, words)
    certificate = read_certificate(presented)
    dates = f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if not certificate.not_before <= now <= certificate.not_after:
        words = (
            f"The aggregator's certificate is valid from {dates}, but this silo's clock says {now:%Y-%m-%d %H:%M} UTC. "
            "Correct the clock, or ask the operator to renew the certificate."
        )
        return Finding("tls", False, words)
    problem = _problem(endpoint, trusted=trusted, names=certificate.names)
    return Finding(
        "tls", not problem, problem or f"The certificate of {', '.join(certificate.names)} is valid: {dates}."
    )


def _presented(endpoint: Endpoint) -> bytes | None:
    """The certificate that is presented there, trusted or not, as DER; None: no TLS is spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # to look at it; `_problem` then judges it
    try:
        return _shake_hands(endpoint, context)
    except OSError:
        return None


def _problem(endpoint: Endpoint, *, trusted: _Trusted, names: tuple[str, ...]) -> str:
    """Why the presented certificate, valid today, is not trusted; "" when it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=trusted.pem)
        _shake_hands(endpoint, context)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (62, 64):  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
            return (
                f"The aggregator's certificate is for {', '.join(names) or 'no name'}, not for {endpoint.host}. "
                "Use one of these names in `aggregator`, or ask the operator for a certificate with this one."
            )
        return (
            f"No authority that is trusted vouches for the aggregator's certificate ({error.verify_message}); "
            f"{trusted.source}. {trusted.change}, and ask the operator whether {endpoint.host} is theirs at all."
        )
    except OSError as error:
        return f"The TLS handshake failed: {error}. Ask the operator whether the aggregator's TLS is set up."
    return ""


def _shake_hands(endpoint: Endpoint, context: ssl.SSLContext) -> bytes | None:
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((endpoint.host, endpoint.port), timeout=TIMEOUT_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=endpoint.host) as secured,
    ):
        return secured.getpeercert(binary_form=True)
