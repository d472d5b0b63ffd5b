"""A TCP proxy of the tests' own: it cuts, resets, delays, throttles, stalls and refuses connections on command.

    with TcpProxy("127.0.0.1:8443") as proxy:
        proxy.up.cut_after(5_000_000, 100)   # bytes to the server: one reset then, another 100 bytes later
        proxy.down.act_after(70, Link.vanish)  # or whatever else a test does to the connection of that byte
        SiloClient(proxy.address, ...)

Two threads a connection, one a direction. It knows bytes and nothing of gRPC.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

READ_BYTES = 64 << 10
LOOK_SECONDS = 0.02
"""How often a stalled direction looks whether it may go on."""


class Link:
    """One connection through a proxy, and what an act at one of its bytes may do to it.

    Args:
        client: The end towards the client.
        server: The end towards the server.

    Attributes:
        target: "host:port" of the server.
        vanished: True: nothing passes any more, and neither end is told.
        ended: Whether an act ended it.
    """

    def __init__(self, client: socket.socket, server: socket.socket, *, target: str) -> None:
        self.ends = (client, server)
        self.target = target
        self.vanished = False
        self.ended = False

    def vanish(self) -> None:
        """From now on each end waits for a peer that is gone."""
        self.vanished = True

    def close(self) -> None:
        """Ends it in order: both ends read its end."""
        self.ended = True
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Resets it towards both ends, once they had time to take what was sent before."""
        self.ended = True
        time.sleep(LOOK_SECONDS)
        for end in self.ends:
            _reset(end)


Act = Callable[[Link], object]


class Direction:
    """What befalls the bytes that flow one way; every setting may be changed while they flow.

    Attributes:
        num_bytes: Passed on so far, over all connections.
        num_cuts: Cuts of `cut_after` that have happened.
        delay_seconds: Every read waits so long before it is passed on.
        bytes_per_second: At most so many pass in each connection; 0: as many as can.
        stalled: True: nothing passes, and both ends keep their connection, as with a peer that vanished.
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self.num_cuts = 0
        self.delay_seconds = 0.0
        self.bytes_per_second = 0.0
        self.stalled = False
        self._acts: list[tuple[int, Act]] = []
        self._lock = threading.Lock()

    def cut_after(self, *counts: int) -> None:
        """Resets the connection that carries the last of the next `counts[0]` bytes, then of `counts[1]` more, ..."""
        with self._lock:
            self._acts = [(count, self._cut) for count in counts]

    def act_after(self, count: int, act: Act) -> None:
        """Acts on the connection that carries the last of the next `count` bytes: after whatever was ordered before."""
        with self._lock:
            self._acts.append((count, act))

    def take(self, size: int) -> tuple[int, Act | None]:
        """How many of these bytes pass, and what is done after them."""
        with self._lock:
            if not self._acts:
                self.num_bytes += size
                return size, None
            count, act = self._acts.pop(0)
            if size < count:
                self._acts.insert(0, (count - size, act))
                self.num_bytes += size
                return size, None
            self.num_bytes += count
            return count, act

    def _cut(self, link: Link) -> None:
        self.num_cuts += 1
        link.reset()


class TcpProxy:
    """A proxy on loopback in front of one server.

    Args:
        target: "host:port" of the server; `target` may be changed, for the connections to come.
        host: Where it listens: any address of loopback.
        port: Its own; 0: a free one.

    Attributes:
        up: What befalls bytes from clients to the server.
        down: What befalls bytes from the server to clients.
        refusing: True: every new connection is reset at once.
        num_connections: Taken so far.
    """

    def __init__(self, target: str, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target = target
        self.up = Direction()
        self.down = Direction()
        self.refusing = False
        self.num_connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((host, port))
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes no more connections and resets those that are open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Resets every open connection, towards both ends."""
        with self._lock:
            broken, self._open = self._open, set()
        for end in broken:
            _reset(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.num_connections += 1
        host, _, port = self.target.rpartition(":")
        try:
            if self.refusing:
                raise ConnectionRefusedError
            server = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        link = Link(client, server, target=self.target)
        for end in link.ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.update(link.ends)
        back = threading.Thread(target=self._pump, args=(link, self.down), daemon=True)
        back.start()
        self._pump(link, self.up)
        back.join()
        with self._lock:
            self._open.difference_update(link.ends)
        for end in link.ends:
            end.close()

    def _pump(self, link: Link, direction: Direction) -> None:
        """Passes bytes on until one end closes or the connection is cut."""
        source, sink = link.ends if direction is self.up else reversed(link.ends)
        try:
            while data := source.recv(READ_BYTES):
                while data:
                    self._wait(len(data), link, direction)
                    passing, act = direction.take(len(data))
                    sink.sendall(data[:passing])
                    data = data[passing:]
                    if act is not None:
                        act(link)
                    if link.ended:
                        return
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in () if link.ended else link.ends:
                _reset(end)

    def _wait(self, size: int, link: Link, direction: Direction) -> None:
        time.sleep(direction.delay_seconds)
        if direction.bytes_per_second:
            time.sleep(size / direction.bytes_per_second)
        while (direction.stalled or link.vanished) and link.ends[0].fileno() >= 0:
            time.sleep(LOOK_SECONDS)


def _reset(end: socket.socket) -> None:
    """Ends a connection at once, whatever it still holds, and wakes the thread that waits for it."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()
