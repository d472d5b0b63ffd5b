"""The tests' own TCP proxy: what it is told to do to a connection is what happens to it, at the very byte."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.tcp_proxy import TcpProxy


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that sends back whatever it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connect(proxy: TcpProxy) -> socket.socket:
    """A client's connection through the proxy."""
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def received(client: socket.socket) -> bytes:
    """Everything that comes until the connection ends, however it ends."""
    content = b""
    try:
        while data := client.recv(1 << 16):
            content += data
    except ConnectionError:
        pass
    return content


def test_undisturbed_bytes_pass_both_ways(echo: str) -> None:
    """Without a fault the proxy changes nothing, and an end of one direction is an end at the other side."""
    with TcpProxy(echo) as proxy, connect(proxy) as client:
        content = bytes(range(256)) * 1000
        threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR))).start()

        assert received(client) == content
        assert (proxy.up.num_bytes, proxy.down.num_bytes) == (len(content), len(content))


def test_cuts_are_at_their_bytes(echo: str) -> None:
    """Each count of `cut_after` ends one connection after exactly so many bytes more; then all is well again."""
    with TcpProxy(echo) as proxy:
        proxy.down.cut_after(10, 1, 70_000)
        for expected in (10, 1, 70_000):
            with connect(proxy) as client:
                client.sendall(bytes(100_000))
                assert len(received(client)) == expected
        with connect(proxy) as client:
            client.sendall(b"ab")
            client.shutdown(socket.SHUT_WR)
            assert received(client) == b"ab"
        assert (proxy.down.num_cuts, proxy.num_connections) == (3, 4)


def test_acts_befall_the_connection_of_their_byte(echo: str) -> None:
    """A closed link ends after exactly its bytes, a vanished one stays open and silent; acts are told the server."""
    acts: list[str] = []
    with TcpProxy(echo) as proxy:
        proxy.down.act_after(10, lambda link: (acts.append(link.target), link.close()))
        proxy.down.act_after(5, lambda link: (acts.append(link.target), link.vanish()))
        with connect(proxy) as client:
            client.sendall(bytes(100))
            assert len(received(client)) == 10
        with connect(proxy) as client:
            client.settimeout(0.2)
            client.sendall(bytes(100))
            assert len(client.recv(100)) == 5
            with pytest.raises(TimeoutError):
                client.recv(1)
    assert acts == [echo, echo]


def test_stalled_connection_goes_on_or_is_reset(echo: str) -> None:
    """While stalled nothing passes and nobody is told; afterwards every byte comes, or the reset does."""
    with TcpProxy(echo) as proxy, connect(proxy) as client, connect(proxy) as other:
        proxy.down.stalled = True
        client.sendall(b"late")
        other.sendall(b"never")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.down.stalled = False
        client.settimeout(10)
        assert client.recv(4) == b"late"
        assert other.recv(5) == b"never"
        proxy.down.stalled = True
        other.sendall(b"gone")
        proxy.reset()
        assert received(other) == b""


def test_refused_and_slow_connections(echo: str) -> None:
    """A refusing proxy ends new connections at once; a slow one lets no more through than it was told."""
    with TcpProxy(echo) as proxy:
        proxy.refusing = True
        with suppress(BrokenPipeError), connect(proxy) as client:  # it may be over before the caller knows of it
            assert received(client) == b""
        proxy.refusing = False
        proxy.up.bytes_per_second = 10_000
        proxy.up.delay_seconds = 0.05
        with connect(proxy) as client:
            started = time.monotonic()
            client.sendall(bytes(2_000))
            client.shutdown(socket.SHUT_WR)
            assert len(received(client)) == 2_000
            assert time.monotonic() - started >= 0.25
