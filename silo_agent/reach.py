"""Whether the aggregator can be reached at all: its name, its port, its certificate. Each finding says what to do."""

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from silo_agent.certificates import read_certificate

TIMEOUT_SECONDS = 5.0


class Finding(NamedTuple):
    """One line of a check-up: what was looked at, whether it is well, and what was found or is to be done."""

    name: str
    ok: bool
    words: str


def reach(address: str, *, ca_pem: str, now: datetime) -> Iterator[Finding]:
    """Looks for the aggregator step by step; a step that fails ends it.

    Args:
        address: host:port.
        ca_pem: Certificates of the authority that the credentials name; "" where they name none.
        now: The silo's clock, to judge the certificate's dates by.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, OverflowError) as error:
        words = f"{host} has no address ({error}). Correct `aggregator`, or ask your network's people about its DNS."
        yield Finding("dns", False, words)
        return
    yield Finding("dns", True, f"{host} is {', '.join(sorted({str(row[4][0]) for row in found}))}.")
    try:
        socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        words = (
            f"Nothing answers at port {port} of {host} ({error}). Is the aggregator running, and does a firewall let "
            f"connections to {address} out of this site?"
        )
        yield Finding("port", False, words)
        return
    yield Finding("port", True, f"{address} takes connections.")
    yield _judge_tls(host, int(port), ca_pem=ca_pem, now=now)


def _judge_tls(host: str, port: int, *, ca_pem: str, now: datetime) -> Finding:
    presented = _presented(host, port)
    if not ca_pem:
        if presented is None:
            return Finding("tls", True, "The connection is not encrypted: the credentials name no authority to trust.")
        words = "The aggregator wants TLS, but the credentials name no authority to trust. Ask for new ones."
        return Finding("tls", False, words)
    if presented is None:
        words = (
            f"{host}:{port} does not speak TLS, but the credentials name an authority to trust. Correct `aggregator`."
        )
        return Finding("tls", False, words)
    certificate = read_certificate(presented)
    dates = f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if not certificate.not_before <= now <= certificate.not_after:
        words = (
            f"The aggregator's certificate is valid from {dates}, but this silo's clock says {now:%Y-%m-%d %H:%M} UTC. "
            "Correct the clock, or ask the operator to renew the certificate."
        )
        return Finding("tls", False, words)
    problem = _problem(host, port, ca_pem=ca_pem, names=certificate.names)
    return Finding(
        "tls", not problem, problem or f"The certificate of {', '.join(certificate.names)} is valid: {dates}."
    )


def _presented(host: str, port: int) -> bytes | None:
    """The certificate that is presented there, trusted or not, as DER; None: no TLS is spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # to look at it; `_problem` then judges it
    try:
        return _shake_hands(host, port, context)
    except OSError:
        return None


def _problem(host: str, port: int, *, ca_pem: str, names: tuple[str, ...]) -> str:
    """Why the presented certificate, valid today, is not trusted; "" when it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=ca_pem)
        _shake_hands(host, port, context)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (62, 64):  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
            return (
                f"The aggregator's certificate is for {', '.join(names) or 'no name'}, not for {host}. "
                "Use one of these names in `aggregator`, or ask the operator for a certificate with this one."
            )
        return (
            f"The authority in the credentials does not vouch for the aggregator's certificate "
            f"({error.verify_message}). Ask the operator for new credentials, and whether {host} is theirs at all."
        )
    except OSError as error:
        return f"The TLS handshake failed: {error}. Ask the operator whether the aggregator's TLS is set up."
    return ""


def _shake_hands(host: str, port: int, context: ssl.SSLContext) -> bytes | None:
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True)
