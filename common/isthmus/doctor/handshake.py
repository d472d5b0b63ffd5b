"""The TLS handshake: who answers there, and whether they take one's own certificate.

gRPC's server closes without any alert when it refuses a caller's certificate, with TLS 1.3 only after the handshake;
others send alerts. The own certificate is shown to nobody who has not proven to be the aggregator.
"""

import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from isthmus.addresses import TLS_PREFIX, Address, Endpoint
from isthmus.certificates import SERVER, Certificate, read_certificate
from isthmus.credentials import Credentials
from isthmus.doctor.dialling import TIMEOUT_SECONDS
from isthmus.doctor.findings import Finding, problem, well
from isthmus.doctor.own import about, dates_of
from isthmus.errors import ConfigInvalid
from isthmus.trust import system_authorities

Dial = Callable[[], socket.socket]

LISTEN_SECONDS = 1.0
"""How long a server may take to speak first, or to turn a certificate away."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""How HTTP/2 begins: its magic and empty settings (RFC 9113, section 3.4)."""

_HANDSHAKE_RECORD = b"\x16"
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_SHOW = "Send the operator this line: the aggregator's log has the reason."
_ALERTS: dict[str, str] = {
    "UNKNOWN_CA": "it knows nobody who vouches for it. Is this the right aggregator?",
    "CERTIFICATE_EXPIRED": "by its clock it has expired, or is not valid yet. Compare the clocks.",
    "CERTIFICATE_REVOKED": "it was revoked.",
    "CERTIFICATE_REQUIRED": "it saw none. Something between the two ends TLS and begins it anew.",
    "CERTIFICATE_UNKNOWN": "it does not accept it.",
    "BAD_CERTIFICATE": "it takes it for damaged.",
    "UNSUPPORTED_CERTIFICATE": "it is not one for callers.",
    "ACCESS_DENIED": "it is valid, and has no access.",
    "DECRYPT_ERROR": "its signature is not that of the authority that it names.",
    "UNRECOGNIZED_NAME": "it answers to other names than the one in the address.",
}
"""What an alert about a certificate means, by the end of OpenSSL's name for it (RFC 8446, section 6.2)."""

_VERSIONS = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")


class Trusted(NamedTuple):
    """Who is trusted to vouch for the aggregator."""

    pem: str
    source: str
    """Who says so, as the subject and verb of a sentence."""
    change: str
    """What to do when they do not vouch for it."""


def trusted(address: Address, credentials: Credentials) -> Trusted:
    """Who is trusted: those whom the credentials name, unless the address says the system's.

    Raises:
        ConfigInvalid: The system's are, and there are none.
    """
    if credentials.authorities and not address.system_tls:
        return Trusted(
            credentials.authorities_pem,
            "the credentials name an authority to trust",
            "Ask the operator for new credentials",
        )
    source = f"the address begins with {TLS_PREFIX}" if address.system_tls else "the credentials name no authority"
    return Trusted(system_authorities(), f"{source}, so the system's are trusted", "Update this system's authorities")


def examine_handshake(
    endpoint: Endpoint, dial: Dial, *, credentials: Credentials, whom: Trusted, now: datetime
) -> Iterator[Finding]:
    """Whether both sides take each other's certificates; a problem ends it."""
    context = _verifying(credentials, whom)
    try:
        with dial() as raw, context.wrap_socket(raw, server_hostname=endpoint.host) as secured:
            server = read_certificate(secured.getpeercert(binary_form=True) or b"")
            words = f"The certificate of {', '.join(server.names)} is valid: {dates_of(server)}."
            yield well("tls", words, where=str(endpoint), measured=f"{secured.version()}")
            yield _taken(secured, endpoint, credentials=credentials)
    except ssl.SSLCertVerificationError as error:
        yield _untrusted(endpoint, dial, error=error, whom=whom, now=now)
    except OSError as error:
        yield _broken(endpoint, dial, error=error, credentials=credentials)


def _taken(secured: ssl.SSLSocket, endpoint: Endpoint, *, credentials: Credentials) -> Finding:
    if secured.selected_alpn_protocol() != "h2":
        words = f"{endpoint} speaks TLS, but not HTTP/2, which gRPC needs (ALPN: {secured.selected_alpn_protocol()})."
        todo = "Is that a web server, or a proxy that ends TLS? Correct the address, or let TLS pass to the aggregator."
        return problem("handshake", words, where=str(endpoint), todo=todo)
    try:
        answer = _first_byte(secured)
    except OSError as error:
        return _refused(endpoint, error, credentials=credentials)
    if not answer:
        return _refused(endpoint, None, credentials=credentials)
    return well("handshake", f"{endpoint} takes this certificate.", where=str(endpoint))


def _first_byte(secured: ssl.SSLSocket) -> bytes:
    """What the server says first. It is listened to before anything is sent: a reset could overtake its alert."""
    try:
        secured.settimeout(LISTEN_SECONDS)
        return secured.recv(1)
    except TimeoutError:
        secured.settimeout(TIMEOUT_SECONDS)
        secured.sendall(_PREFACE)
        return secured.recv(1)


def _refused(endpoint: Endpoint, error: OSError | None, *, credentials: Credentials) -> Finding:
    """The finding when everything was well until the own certificate had been sent."""
    own = about(credentials.certificate)
    alert = _reason(error)
    meaning = next((words for name, words in _ALERTS.items() if alert.endswith(name)), "")
    if meaning:
        words = f"{endpoint} turns this certificate away: {meaning} It is {own}."
        return problem("handshake", words, where=str(endpoint), measured=alert, todo=_SHOW)
    words = (
        f"{endpoint} closed the connection without a reason after our certificate, as an aggregator does that turns it "
        f"away. It is {own}."
    )
    todo = f"Does the operator trust that issuer, and are the dates right by the aggregator's clock? {_SHOW}"
    return problem("handshake", words, where=str(endpoint), measured=alert or "closed", todo=todo)


def _broken(endpoint: Endpoint, dial: Dial, *, error: OSError, credentials: Credentials) -> Finding:
    """The finding when the handshake failed, and not for the aggregator's certificate."""
    reason = _reason(error)
    if reason.endswith(_VERSIONS):
        words = f"{endpoint} speaks a version of TLS older than 1.2 only ({reason})."
        todo = "Ask the operator: the aggregator itself speaks 1.2 and 1.3, so something stands before it."
        return problem("tls", words, where=str(endpoint), measured=reason, todo=todo)
    if isinstance(error, TimeoutError):
        words = f"{endpoint} takes the connection and then says nothing for the TLS handshake."
        todo = "Is the port right? A firewall that inspects connections looks like this, too."
        return problem("tls", words, where=str(endpoint), todo=todo)
    if not _speaks_tls(endpoint, dial):
        words = f"{endpoint} does not speak TLS."
        return problem("tls", words, where=str(endpoint), todo="Is the port right, and the aggregator set up with TLS?")
    return _refused(endpoint, error, credentials=credentials)


def _untrusted(
    endpoint: Endpoint, dial: Dial, *, error: ssl.SSLCertVerificationError, whom: Trusted, now: datetime
) -> Finding:
    """The finding about a certificate that is not believed: dates are a mishap, another name or authority is not."""
    where = str(endpoint)
    try:
        server = _presented(endpoint, dial)
    except (OSError, ConfigInvalid) as other:
        words = (
            f"{endpoint} presents a certificate that is refused ({error.verify_message}) and cannot be read: {other}"
        )
        return problem("tls", words, where=where, todo="Ask the operator about it.", untrusted=True)
    if not server.not_before <= now <= server.not_after:
        words = (
            f"The aggregator's certificate is valid {dates_of(server)}, but this machine's clock says "
            f"{now:%Y-%m-%d %H:%M} UTC."
        )
        todo = "Correct the clock, or ask the operator to renew the certificate."
        return problem("tls", words, where=where, measured=dates_of(server), todo=todo)
    if server.usages and SERVER._name not in server.usages:
        words = f"The aggregator's certificate is for {', '.join(server.usages)}, not for servers."
        return problem("tls", words, where=where, todo="Ask the operator for one that is.", untrusted=True)
    names = ", ".join(server.names) or "no name"
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        words = f"The aggregator's certificate is for {names}, not for {endpoint.host}."
        todo = "Use one of these names in the address, or ask the operator for a certificate with this one."
        return problem("tls", words, where=where, measured=names, todo=todo, untrusted=True)
    words = (
        f"No authority that is trusted vouches for the aggregator's certificate ({error.verify_message}), which was "
        f"issued by {server.issuer} for {names}; {whom.source}."
    )
    todo = f"{whom.change}, and ask the operator whether {endpoint.host} is theirs at all. Nothing was sent there."
    return problem("tls", words, where=where, measured=server.issuer, todo=todo, untrusted=True)


def _verifying(credentials: Credentials, whom: Trusted) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=whom.pem)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:  # Python reads them from a file alone; only ours
        pair.write(credentials.key.pem + credentials.chain_pem)
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


def _looking() -> ssl.SSLContext:
    """To look at a certificate that was refused already, and to show none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _presented(endpoint: Endpoint, dial: Dial) -> Certificate:
    with dial() as raw, _looking().wrap_socket(raw, server_hostname=endpoint.host) as secured:
        return read_certificate(secured.getpeercert(binary_form=True) or b"")


def _speaks_tls(endpoint: Endpoint, dial: Dial) -> bool:
    """Whether the answer to a ClientHello is a handshake record."""
    written = ssl.MemoryBIO()
    hello = _looking().wrap_bio(ssl.MemoryBIO(), written, server_hostname=endpoint.host)
    with suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    try:
        with dial() as raw:
            raw.sendall(written.read())
            return raw.recv(1) == _HANDSHAKE_RECORD
    except OSError:
        return False


def _reason(error: OSError | None) -> str:
    return str(error.reason or "") if isinstance(error, ssl.SSLError) else ""
