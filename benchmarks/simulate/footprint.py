"""What one process takes: CPU time, memory, file descriptors, threads; looked at now and then. Linux alone."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_INTERVAL_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Footprint:
    """One look; `peak_mib` is the most so far."""

    at: float
    cpu_seconds: float
    peak_mib: float
    descriptors: int
    threads: int


@dataclass(slots=True)
class Watch:
    """Looks at a process until the block is left.

    Attributes:
        pid: The process.
        looks: So far.
    """

    pid: int
    looks: list[Footprint] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Watch":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError):  # it has ended
                self.looks.append(footprint(self.pid))
            self._ended.wait(_INTERVAL_SECONDS)


def footprint(pid: int) -> Footprint:
    """What the process takes now.

    Raises:
        OSError: It has ended.
    """
    place = Path("/proc", str(pid))
    fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    return Footprint(
        at=time.time(),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        peak_mib=int(status.get("VmHWM", "0 kB").split()[0]) / 1024,
        descriptors=len(os.listdir(place / "fd")),
        threads=int(fields[17]),
    )
