"""What a replica takes from its machine before it serves: port, certificates, operators' credentials, scratch folders.

Every failure here is one sentence that names the setting and what to do.
"""

import errno
import socket
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from aggregator.config import AggregatorConfig, Tls, host_and_port
from isthmus.credentials import load_credentials
from isthmus.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Scratch:
    """Folders for files that die with the process.

    Attributes:
        aggregation: For `advance`, which keeps nothing else in it.
        creation: For initial projectors while they arrive.
    """

    aggregation: Path
    creation: Path
    temporary: "tempfile.TemporaryDirectory[str] | None" = field(default=None)

    def close(self) -> None:
        """Removes what was made for this process alone."""
        if self.temporary is not None:
            self.temporary.cleanup()


def scratch_folders(config: AggregatorConfig) -> Scratch:
    """The scratch folders, made where they are not there yet.

    Raises:
        ConfigInvalid: They cannot be made.
    """
    try:
        temporary = None if config.scratch else tempfile.TemporaryDirectory(prefix="isthmus-")
        root = Path(temporary.name) if temporary else config.scratch or Path()
        scratch = Scratch(root / "aggregation", root / "creation", temporary)
        for folder in (scratch.aggregation, scratch.creation):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigInvalid(
            f"The scratch folder {config.scratch or tempfile.gettempdir()} cannot be used: {error.strerror}. "
            "Set scratch to a folder that can be written."
        ) from error
    return scratch


def operator_digests(config: AggregatorConfig) -> frozenset[str]:
    """Hex SHA-256 of every operator's credential.

    Raises:
        ConfigInvalid: A credentials file cannot be used.
    """
    files = (load_credentials(path).digest for path in config.operator_credentials)
    return frozenset((*config.operator_credential_sha256, *files))


def read_pem(path: Path) -> str:
    """The PEM text in this file.

    Raises:
        ConfigInvalid: It cannot be read.
    """
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"The PEM file {path} cannot be read: {error}. Correct [tls].") from error


def bind(server: grpc.Server, config: AggregatorConfig) -> int:
    """Binds the server to `listen`; the port it got.

    Raises:
        ConfigInvalid: The port is taken or the address is not this machine's; or a certificate is wrong.
    """
    host, port = host_and_port(config.listen)
    if wrong := _why_not(host, port):  # asked before gRPC, which would log it in its own words first
        raise ConfigInvalid(f"The aggregator cannot listen on {host} port {port}: {wrong}")
    credentials = _server_credentials(config.tls) if config.tls else None
    try:
        if credentials is None:
            bound = server.add_insecure_port(config.listen)
        else:
            bound = server.add_secure_port(config.listen, credentials)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise ConfigInvalid(
            f"The aggregator cannot listen on {host} port {port}, and the system does not say why. Try it again, "
            "or set listen to another port."
        )
    return bound


def _server_credentials(tls: Tls) -> grpc.ServerCredentials:
    certificate, key = read_pem(tls.certificate), read_pem(tls.key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigInvalid(
            f"tls.certificate {tls.certificate} and tls.key {tls.key} are no certificate and its private key: {error}."
        ) from error
    return grpc.ssl_server_credentials([(key.encode(), certificate.encode())])


def _no_passphrase() -> bytes:
    raise ValueError("the key is protected by a passphrase; store it without one")


def _why_not(host: str, port: int) -> str:
    """Why an address cannot be bound, and what to do; empty when it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC: what was closed just now is free
            probe.bind(address)
    except OSError as error:
        advice = "Stop what uses it" if error.errno == errno.EADDRINUSE else "Correct it"
        return f"{error.strerror or error}. {advice}, or set listen to another address (port 0 takes a free one)."
    return ""
