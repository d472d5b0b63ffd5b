"""The server's side of TLS: its certificate, and whose certificates it asks of callers; read anew when they change.

gRPC asks for them at every handshake, so a rotation disturbs no stream that is open.
"""

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from aggregator.config import Tls
from aggregator.setup import read_pem
from aggregator.vouching import Authorities
from isthmus.errors import ConfigInvalid
from isthmus.logs import Event, log_event

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key, as they were at these times."""

    modified_ns: tuple[int, int]
    certificate: bytes
    key: bytes


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
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(members=True),
            lambda: self._configuration(members=True),
            require_client_authentication=True,
        )

    def of_anybody(self) -> grpc.ServerCredentials:
        """For the port where sites enrol that have none yet."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(members=False),
            lambda: self._configuration(members=False),
            require_client_authentication=False,
        )

    def _configuration(self, *, members: bool) -> grpc.ServerCertificateConfiguration:
        pair = self._current()
        return grpc.ssl_server_certificate_configuration(
            [(pair.key, pair.certificate)], root_certificates=self._authorities.pem.encode() if members else None
        )

    def _current(self) -> _Pair:
        with self._lock:
            try:
                if _modified_ns(self._tls) != self._pair.modified_ns:
                    self._pair = _read(self._tls)
                    log_event(_LOG, Event.CERTIFICATE_LOADED, path=str(self._tls.certificate))
            except (OSError, ConfigInvalid):
                pass  # in the middle of being replaced: certificate and key do not fit each other yet
            return self._pair


def _modified_ns(tls: Tls) -> tuple[int, int]:
    return tls.certificate.stat().st_mtime_ns, tls.key.stat().st_mtime_ns


def _read(tls: Tls) -> _Pair:
    certificate, key = read_pem(tls.certificate), read_pem(tls.key)
    _require_pair(tls.certificate, tls.key)
    return _Pair(_modified_ns(tls), certificate.encode(), key.encode())


def _require_pair(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigInvalid(
            f"tls.certificate {certificate} and tls.key {key} are no certificate and its private key: {error}."
        ) from error


def _no_passphrase() -> bytes:
    raise ValueError("the key is protected by a passphrase; store it without one")
