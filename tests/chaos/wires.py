"""One silo's way to the replicas: a proxy that picks a replica for each connection, and can be told to misbehave."""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

READ_BYTES = 4096
DELAY_SECONDS = 0.5
THROTTLED_BYTES_PER_SECOND = 64 << 10
THROTTLED_SECONDS = 1.0
CONNECT_SECONDS = 5.0

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: the peer gets a reset and not an orderly end."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to the silo's newest connection.

    Attributes:
        number: Of the order.
        kind: "cut", "reset", "delay", "throttle", "half-open", or "kill", which is `then`'s work.
        outward: Whether the silo's own bytes are counted, or those that come to it.
        after_bytes: How many may still pass.
        then: Told the replica's port when it happens.
    """

    number: int
    kind: str
    outward: bool
    after_bytes: int
    then: Callable[[int], None]


@dataclass(slots=True)
class _Connection:
    silo: socket.socket
    replica: socket.socket
    port: int
    silenced: bool = False
    slow_until: float = 0.0

    def close(self, *, reset: bool = False) -> None:
        for end in (self.silo, self.replica):
            with contextlib.suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes the thread that reads it
            end.close()


@dataclass(slots=True)
class _Armed:
    trouble: Trouble
    left_bytes: int


class Wire:
    """A listening socket on loopback.

    Args:
        seed: Picks the replicas.

    Attributes:
        port: Where the silo connects.
        ports: Of the replicas; a connection goes to the first, in random order, that takes it.
        fired: Numbers of the troubles that happened.
    """

    def __init__(self, *, seed: int) -> None:
        self.ports: Sequence[int] = ()
        self.fired: set[int] = set()
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def trouble(self, trouble: Trouble) -> None:
        """Makes something happen after so many more bytes."""
        with self._lock:
            self._armed.append(_Armed(trouble, trouble.after_bytes))

    def close(self) -> None:
        """Ends it, and every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                silo, _ = self._listener.accept()
            except OSError:
                return
            replica = self._reach()
            if replica is None:
                silo.close()
                continue
            connection = _Connection(silo, replica, replica.getpeername()[1])
            with self._lock:
                self._connections.append(connection)
            for outward in (True, False):
                threading.Thread(target=self._pump, args=(connection, outward), daemon=True).start()

    def _reach(self) -> socket.socket | None:
        """A connection to some replica that is there."""
        for port in self._dice.sample(list(self.ports), len(self.ports)):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
        return None

    def _pump(self, connection: _Connection, outward: bool) -> None:
        source, sink = connection.silo, connection.replica
        if not outward:
            source, sink = sink, source
        with contextlib.suppress(OSError):
            source.settimeout(None)
            while data := source.recv(READ_BYTES):
                due = self._due(len(data), outward=outward)
                if due is not None:
                    sink.sendall(data[: due.left_bytes])
                    data = data[due.left_bytes :]
                    self._happen(connection, due.trouble)
                if time.monotonic() < connection.slow_until:
                    time.sleep(len(data) / THROTTLED_BYTES_PER_SECOND)
                if not connection.silenced:
                    sink.sendall(data)
        if not connection.silenced:
            connection.close()

    def _due(self, size: int, *, outward: bool) -> _Armed | None:
        """What happens within the next `size` bytes."""
        with self._lock:
            for armed in self._armed:
                if armed.trouble.outward is not outward:
                    continue
                if armed.left_bytes < size:
                    self._armed.remove(armed)
                    return armed
                armed.left_bytes -= size
        return None

    def _happen(self, connection: _Connection, trouble: Trouble) -> None:
        match trouble.kind:
            case "cut":
                connection.close()
            case "reset":
                connection.close(reset=True)
            case "half-open":
                connection.silenced = True
            case "delay":
                time.sleep(DELAY_SECONDS)
            case "throttle":
                connection.slow_until = time.monotonic() + THROTTLED_SECONDS
        trouble.then(connection.port)
        self.fired.add(trouble.number)
