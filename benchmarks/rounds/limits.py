"""What the machine itself needs for the same bytes: loopback, SHA-256, a synced write, one pass of arithmetic.

`python -m benchmarks.rounds.limits up|down PORT SILOS` is how it starts the other end of its connections.
"""

import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rounds.meter import SILO
from benchmarks.rounds.stage import Stage, python
from benchmarks.rounds.work import projector, widths_of_environment

_STEP_BYTES = 1 << 20
_BLOCK = 1 << 20

_Work = Callable[[socket.socket, bytes], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for the bytes of one round of these silos, one thing after the other.

    Attributes:
        silos: How many.
        payload_bytes: Of one projector.
        loopback_up: All deltas over TCP from another process, a connection for each.
        loopback_down: All pulls, likewise.
        sha256: Of all deltas, one thread.
        write: All deltas to the disk of the store, a file each, synced.
        combine: One weighted mean of all deltas, read from the page cache, one thread.
        copy: All deltas from one warm buffer to another; not part of the sum.
    """

    silos: int
    payload_bytes: int
    loopback_up: float
    loopback_down: float
    sha256: float
    write: float
    combine: float
    copy: float

    @property
    def total(self) -> float:
        """What nobody who does all that one after the other can go below."""
        return self.loopback_up + self.loopback_down + self.sha256 + self.write + self.combine


def limits(stage: Stage) -> Limits:
    """Measures them, in the stage's folder."""
    work = stage.work
    data = b"".join(tensor.tobytes() for tensor in projector(work.widths).values())
    total = np.ones(len(data) // 4, np.float32)
    files = [stage.folder / f"delta-{number}" for number in range(work.silos)]
    return Limits(
        work.silos,
        len(data),
        loopback_up=_transfer(stage, data, direction="up"),
        loopback_down=_transfer(stage, data, direction="down"),
        sha256=_seconds(lambda: [hashlib.sha256(data).digest() for _ in files]),
        write=_seconds(lambda: _write(files, data)),
        combine=_seconds(lambda: _combine(files, total)),
        copy=_copy(data, times=work.silos),
    )


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _copy(data: bytes, *, times: int) -> float:
    source, target = np.frombuffer(data, np.uint8), np.zeros(len(data), np.uint8)

    def copies() -> None:
        for _ in range(times):
            np.copyto(target, source)

    return _seconds(copies)


def _write(files: Sequence[Path], data: bytes) -> None:
    for file in files:
        with file.open("wb", buffering=0) as out:
            view = memoryview(data)
            while view:
                view = view[out.write(view) :]
            os.fsync(out.fileno())


def _combine(files: Sequence[Path], total: NDArray[np.float32]) -> None:
    """The mean of all files' float32 values, block by block, into memory that is warm already."""
    block, weight = np.ones(_BLOCK, np.float32), np.float32(1 / len(files))
    with ExitStack() as stack:
        handles = [stack.enter_context(file.open("rb", buffering=0)) for file in files]
        for start in range(0, len(total), _BLOCK):
            part = total[start : start + _BLOCK]
            room = block[: len(part)]
            part.fill(0.0)
            for handle in handles:
                handle.readinto(room.data.cast("B"))
                np.multiply(room, weight, out=room)
                np.add(part, room, out=part)


def _transfer(stage: Stage, data: bytes, *, direction: str) -> float:
    """Seconds from the first byte to the last between this process and another one, over a connection per silo."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        stage.start(SILO, [*python("benchmarks.rounds.limits"), direction, str(port), str(stage.work.silos)])
        connections = [listening.accept()[0] for _ in range(stage.work.silos)]
    begin = time.perf_counter()
    for connection in connections:
        connection.sendall(b"!")  # the other end has everything ready; now it begins
    work = _receive if direction == "up" else _send
    _side_by_side(work, connections, data)
    if direction == "down":
        for connection in connections:
            connection.recv(1)  # it has all of it
    taken = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    return taken


def _side_by_side(work: _Work, connections: Sequence[socket.socket], data: bytes) -> None:
    with ThreadPoolExecutor(len(connections)) as pool:
        for done in [pool.submit(work, connection, data) for connection in connections]:
            done.result()


def _send(connection: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    for start in range(0, len(data), _STEP_BYTES):
        connection.sendall(view[start : start + _STEP_BYTES])


def _receive(connection: socket.socket, data: bytes) -> None:
    room, missing = memoryview(bytearray(_STEP_BYTES)), len(data)
    while missing:
        count = connection.recv_into(room[: min(missing, _STEP_BYTES)])
        if count == 0:
            raise ConnectionError("the other end is gone")
        missing -= count


def _other_end(direction: str, *, port: int, num_silos: int) -> None:
    data = b"".join(tensor.tobytes() for tensor in projector(widths_of_environment()).values())
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(num_silos)]

    def one(connection: socket.socket, data: bytes) -> None:
        connection.recv(1)
        if direction == "up":
            _send(connection, data)
        else:
            _receive(connection, data)
            connection.sendall(b"!")

    _side_by_side(one, connections, data)


if __name__ == "__main__":
    _other_end(sys.argv[1], port=int(sys.argv[2]), num_silos=int(sys.argv[3]))
