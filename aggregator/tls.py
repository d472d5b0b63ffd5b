"""The server's side of TLS: its certificate, and whose certificates it asks of callers; read anew when they change.

gRPC asks for them at every handshake, so a rotation disturbs no stream that is open.
"""

import logging
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from aggregator.config import Tls
from aggregator.setup import read_pem
from aggregator.vouching import Authorities
from isthmus.errors import ConfigInvalid
from isthmus.logs import Event, log_event

_LOG = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key, as they were at these times."""

    modified_ns: tuple[int, int]
    certificate: bytes
    key: bytes


_Parts = tuple[bytes, bytes, bytes | None]
"""Private key, certificate chain, and the authorities of callers (None: callers show no certificate); PEM."""


class ServerTls:
    """The server's certificate, and credentials made of it.

    Args:
        tls: Where it is.
        authorities: Who may vouch for callers.

    Raises:
        ConfigInvalid: The files cannot be read, or are no certificate and its key.
    """

    def __init__(self, tls: Tls, authorities: Authorities) -> None:
        self._tls = tls
        self._authorities = authorities
        self._lock = threading.Lock()
        self._pair = _read(tls)

    def of_members(self) -> grpc.ServerCredentials:
        """For the port where every caller must have a certificate."""
        return self._credentials(members=True)

    def of_anybody(self) -> grpc.ServerCredentials:
        """For the port where sites enrol that have none yet."""
        return self._credentials(members=False)

    def _credentials(self, *, members: bool) -> grpc.ServerCredentials:
        given = self._parts(members=members)

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # gRPC frees what it had when it is given another, even one that says the same, and a handshake that has
            # asked just before may not have taken hold of it yet: then the process aborts. So it is given something
            # only when something changed, and those handshakes get time first; later ones wait meanwhile.
            nonlocal given
            now = self._parts(members=members)
            if now == given:
                return None
            time.sleep(_SETTLE_SECONDS)
            given = now
            return _configuration(now)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(given),
            changed,  # type: ignore[arg-type]  # None: nothing changed; the stubs do not know that
            require_client_authentication=members,
        )

    def _parts(self, *, members: bool) -> _Parts:
        pair = self._current()
        return pair.key, pair.certificate, self._authorities.pem.encode() if members else None

    def _current(self) -> _Pair:
        with self._lock:
            try:
                if _modified_ns(self._tls) != self._pair.modified_ns:
                    self._pair = _read(self._tls)
                    log_event(_LOG, Event.CERTIFICATE_LOADED, path=str(self._tls.certificate))
            except (OSError, ConfigInvalid):
                pass  # in the middle of being replaced: certificate and key do not fit each other yet
            return self._pair


def _configuration(parts: _Parts) -> grpc.ServerCertificateConfiguration:
    key, certificate, authorities = parts
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)


def _modified_ns(tls: Tls) -> tuple[int, int]:
    return tls.certificate.stat().st_mtime_ns, tls.key.stat().st_mtime_ns


def _read(tls: Tls) -> _Pair:
    here = tls.certificate.exists() and tls.key.exists()  # read_pem says it better where one is not
    before = _modified_ns(tls) if here else (0, 0)
    certificate, key = read_pem(tls.certificate), read_pem(tls.key)
    _require_pair(tls.certificate, tls.key)
    after = _modified_ns(tls)
    if after != before:
        raise ConfigInvalid(f"tls.certificate {tls.certificate} or tls.key {tls.key} was replaced while it was read.")
    return _Pair(before, certificate.encode(), key.encode())


def _require_pair(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigInvalid(
            f"tls.certificate {certificate} and tls.key {key} are no certificate and its private key: {error}."
        ) from error


def _no_passphrase() -> bytes:
    raise ValueError("the key is protected by a passphrase; store it without one")
