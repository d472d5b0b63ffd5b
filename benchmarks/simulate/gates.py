"""Gates between processes: everybody arrives, then everybody goes on. One socket for each process, a byte each way."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

PASS_SECONDS = 1800.0
"""How long the slowest may keep the others waiting before the measurement is given up."""


class Gatekeeper:
    """Lets processes through gates. Use it as a context manager; `port` is what they connect to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._guests: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> "Gatekeeper":
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listening, *self._guests):
            one.close()

    def admit(self, count: int, *, seconds: float) -> None:
        """Waits until so many processes are connected.

        Raises:
            TimeoutError: They did not come in time.
        """
        self._listening.settimeout(seconds)
        self._guests = [self._listening.accept()[0] for _ in range(count)]
        for guest in self._guests:
            guest.settimeout(PASS_SECONDS)

    def wait(self) -> None:
        """Returns once all are at the gate.

        Raises:
            ConnectionError: One of them is gone.
        """
        for guest in self._guests:
            if guest.recv(1) != b"?":
                raise ConnectionError("a process of the crowd ended before its time")

    def open(self) -> float:
        """Lets all of them through; when."""
        at = time.time()
        for guest in self._guests:
            guest.sendall(b"!")
        return at


@dataclass(frozen=True, slots=True)
class Gate:
    """A process's side of the gates: its threads meet, then one of them asks for all."""

    barrier: threading.Barrier

    def pass_through(self) -> None:
        """Returns once every thread of every process is here.

        Raises:
            threading.BrokenBarrierError: Somebody will never come.
        """
        self.barrier.wait(PASS_SECONDS)


def gate_of(port: int, *, threads: int) -> Gate:
    """Connects a process of so many threads."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(PASS_SECONDS)
    return Gate(threading.Barrier(threads, action=_asking(connection)))


def _asking(connection: socket.socket) -> Callable[[], None]:
    def ask() -> None:
        connection.sendall(b"?")
        if connection.recv(1) != b"!":
            raise ConnectionError("the measurement was given up")

    return ask
