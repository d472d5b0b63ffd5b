"""What processes take: CPU time, memory and bytes over loopback, sampled from /proc by the role they were started in.

A role is in the environment, which children inherit; so whatever a server or a silo starts is counted with it, also
what leaves its process group. Linux alone.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROLE = "ISTHMUS_BENCH_ROLE"
"""The environment variable that names the role."""

SERVER, SILO, TOOL = "server", "silo", "tool"
"""Roles."""

_INTERVAL_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_STRANGER_AFTER = 20
"""Looks after which a process without a role is none of ours: between fork and exec a child still looks like its
parent's parent."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: CPU seconds so far and MiB now by role, bytes over loopback so far."""

    at: float
    cpu_seconds: dict[str, float]
    mib: dict[str, float]
    loopback_bytes: int


@dataclass(slots=True)
class _Process:
    role: str
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class Meter:
    """Samples every process whose role begins with `scene` until the block is left.

    Attributes:
        scene: What tells this measurement's processes from all others: "scene:role".
        samples: So far.
    """

    scene: str
    samples: list[Sample] = field(default_factory=list)
    _known: dict[tuple[int, str], _Process] = field(default_factory=dict)
    _looks: dict[tuple[int, str], int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Meter":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()

    def living(self) -> list[int]:
        """Processes of this measurement that are there now."""
        return [pid for pid, start, _ in _processes() if self._role(pid, start)]

    def look(self) -> Sample:
        """What they take now. A dead process's CPU time stays counted as it was last seen."""
        mib: dict[str, float] = {}
        for pid, start, fields in _processes():
            if not (role := self._role(pid, start)):
                continue
            known = self._known.setdefault((pid, start), _Process(role))
            known.cpu_seconds = (int(fields[11]) + int(fields[12])) / _TICKS
            mib[role] = mib.get(role, 0.0) + int(fields[21]) * _PAGE_MIB
        cpu: dict[str, float] = {}
        for process in self._known.values():
            cpu[process.role] = cpu.get(process.role, 0.0) + process.cpu_seconds
        return Sample(time.time(), cpu, mib, loopback_bytes())

    def _run(self) -> None:
        while not self._ended.is_set():
            self.samples.append(self.look())
            self._ended.wait(_INTERVAL_SECONDS)

    def _role(self, pid: int, start: str) -> str:
        """The role of a process, once it is known for good whether it has one; "" for strangers."""
        key = (pid, start)
        if key in self._known:
            return self._known[key].role
        if self._looks.get(key, 0) >= _STRANGER_AFTER:
            return ""
        self._looks[key] = self._looks.get(key, 0) + 1
        scene, _, role = _role_in_environment(pid).partition(":")
        return role if scene == self.scene else ""


def loopback_bytes() -> int:
    """What went over loopback in this network so far, headers included; counted once, as it is received."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    return 0


def _processes() -> Iterator[tuple[int, str, list[str]]]:
    """Every process: its number, when it started, and its fields of /proc/PID/stat from the state on."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                text = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
                fields = text.rpartition(")")[2].split()
                yield int(name), fields[19], fields


def _role_in_environment(pid: int) -> str:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == ROLE.encode():
                return value.decode()
    return ""
