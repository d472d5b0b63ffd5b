"""A gateway of the tests' own: passes TLS through by the name in the handshake, as a TLSRoute tells one to.

It reads the ClientHello (RFC 8446, section 4.1.2; server_name: RFC 6066, section 3), sends it on unchanged, and from
then on only carries bytes. It holds no key and could not read them.
"""

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

_HANDSHAKE, _SERVER_NAME = 22, 0


class SniRouter:
    """One listener on loopback.

    Args:
        targets: "host:port" to which a name leads; every other name's connection is closed.

    Attributes:
        port: Where it listens.
        names: The names that were asked for, in order; "": none.
    """

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = dict(targets)
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.names: list[str] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(caller)
            threading.Thread(target=self._route, args=(caller,), daemon=True).start()

    def _route(self, caller: socket.socket) -> None:
        with suppress(OSError, struct.error):
            hello = _record(caller)
            name = server_name(hello)
            self.names.append(name)
            if name not in self._targets:
                caller.close()
                return
            host, _, port = self._targets[name].rpartition(":")
            target = socket.create_connection((host, int(port)), timeout=10)
            target.settimeout(None)
            self._open.append(target)
            target.sendall(hello)
            threading.Thread(target=_carry, args=(target, caller), daemon=True).start()
            _carry(caller, target)


def _record(caller: socket.socket) -> bytes:
    """The first TLS record."""
    head = _exactly(caller, 5)
    return head + _exactly(caller, struct.unpack(">H", head[3:5])[0])


def _exactly(caller: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = caller.recv(size - len(read))
        if not more:
            raise OSError("the caller left")
        read += more
    return read


def server_name(hello: bytes) -> str:
    """The host's name in a record that holds a ClientHello; empty where it has none."""
    if hello[0] != _HANDSHAKE:
        return ""
    at = 5 + 4 + 2 + 32  # the record's and the message's head, version, random
    at += 1 + hello[at]  # session
    at += 2 + struct.unpack_from(">H", hello, at)[0]  # ciphers
    at += 1 + hello[at] + 2  # compression, length of all extensions
    while at < len(hello):
        kind, size = struct.unpack_from(">HH", hello, at)
        if kind == _SERVER_NAME:
            (length,) = struct.unpack_from(">H", hello, at + 7)
            return hello[at + 9 : at + 9 + length].decode("ascii")
        at += 4 + size
    return ""


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
