"""Servers on loopback that answer as few bytes as a test needs: of TLS, of a proxy, of nothing known."""

import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isthmus.credentials import Credentials

Behave = Callable[[socket.socket], None]


@contextmanager
def listening(behave: Behave) -> Iterator[str]:
    """The address of something that does this with every connection, each in a thread of its own, and closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            behave(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(10.0)
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    first = threading.Thread(target=accept)
    first.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (first, *threads):
            thread.join()


def speaking_tls(server: Credentials, *, authorities: str = "", h2: bool = True, then: bytes = b"") -> Behave:
    """Shakes hands with this certificate, reads a little, says `then`; callers must show one of these authorities'."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder, "pair.pem")
        pair.write_text(server.key.pem + server.chain_pem)
        context.load_cert_chain(pair)
    if h2:
        context.set_alpn_protocols(["h2"])
    if authorities:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authorities)

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(64)
            if then:
                secured.sendall(then)
                secured.recv(64)

    return behave


def saying(words: bytes) -> Behave:
    """Says this at once, and reads what the other side says until it is silent."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(words)
        while connection.recv(4096):
            pass

    return behave


def silent(connection: socket.socket) -> None:
    """Reads everything and says nothing."""
    while connection.recv(4096):
        pass


def proxying(target: str, *, login: str = "", refusal: bytes = b"") -> Behave:
    """An HTTP proxy that connects everything to `target`; with a login, to those alone that show it (base64)."""

    def behave(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            byte = connection.recv(1)
            if not byte:
                return
            request += byte
        if refusal or (login and f"Proxy-Authorization: Basic {login}".lower() not in request.decode().lower()):
            connection.sendall(refusal or b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as onward:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(onward, connection))
            back.start()
            _pass_on(connection, onward)
            back.join()

    return behave


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        source.shutdown(socket.SHUT_RDWR)
