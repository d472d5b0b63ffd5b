"""What a replica takes from its machine before it serves: port, keys, scratch folders.

Every failure here is one sentence that names the setting and what to do.
"""

import errno
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aggregator.config import AggregatorConfig, host_and_port
from aggregator.stores.aside import clear
from isthmus.errors import ConfigInvalid


class Scratch(NamedTuple):
    """Folders for files that die with the process, or are removed when the next one starts.

    Attributes:
        aggregation: For `advance`, which keeps nothing else in it.
        creation: For initial projectors while they arrive.
    """

    aggregation: Path
    creation: Path


def scratch_folders(config: AggregatorConfig) -> Scratch:
    """The scratch folders, made where they are not there yet, without what dead processes left in them.

    Raises:
        ConfigInvalid: They cannot be made, or the one in the system's temporary folder belongs to somebody else.
    """
    try:
        root = config.scratch or _own_temporary_folder()
        scratch = Scratch(root / "aggregation", root / "creation")
        for folder in scratch:
            folder.mkdir(parents=True, exist_ok=True)
            clear(folder)
    except OSError as error:
        raise ConfigInvalid(
            f"The scratch folder {config.scratch or tempfile.gettempdir()} cannot be used: {error.strerror}. "
            "Set scratch to a folder that can be written."
        ) from error
    return scratch


def _own_temporary_folder() -> Path:
    """The same one for every process of this user: a new one each time would keep what a killed replica left in it."""
    folder = Path(tempfile.gettempdir()) / f"isthmus-scratch-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigInvalid(
            f"{folder} is no folder that this user alone can enter: somebody else on this machine made it. Remove it, "
            "or set scratch to a folder of this replica's own."
        )
    return folder


def read_pem(path: Path) -> str:
    """The PEM text in this file.

    Raises:
        ConfigInvalid: It cannot be read.
    """
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigInvalid(
            f"The PEM file {path} cannot be read: {error.strerror}. Correct its path in the settings."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path} is no PEM file: it is no ASCII text. Correct its path in the settings.") from error


def read_signing_key(path: Path) -> bytes:
    """The Ed25519 private key (32 bytes) in this PEM file.

    Raises:
        ConfigInvalid: It cannot be read, or holds another key.
    """
    try:
        key = serialization.load_pem_private_key(read_pem(path).encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigInvalid(f"{path}, named by signing_key, holds no private key in PEM that can be read.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigInvalid(f"{path}, named by signing_key, is no Ed25519 key; `isthmus ca init` makes one.")
    return key.private_bytes_raw()


def bind(server: grpc.Server, listen: str, credentials: grpc.ServerCredentials | None) -> int:
    """Binds the server to host:port, over TLS where credentials are given; the port it got.

    Raises:
        ConfigInvalid: The port is taken or the address is not this machine's.
    """
    host, port = host_and_port(listen)
    if wrong := _why_not(host, port):  # asked before gRPC, which would log it in its own words first
        raise ConfigInvalid(f"The aggregator cannot listen on {host} port {port}: {wrong}")
    try:
        bound = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise ConfigInvalid(
            f"The aggregator cannot listen on {host} port {port}, and the system does not say why. Try it again, "
            "or set listen to another port."
        )
    return bound


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
