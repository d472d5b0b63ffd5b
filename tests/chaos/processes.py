"""The driver's side of the nursery: give birth, send signals, hear of ends."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY_SECONDS = 120.0


def environment() -> dict[str, str]:
    """Of child processes: they find the tree as an installed project is found, and no settings of this machine."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    path = f"{ROOT / 'common'}{os.pathsep}{ROOT}"
    return {**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(slots=True)
class Child:
    """One process of a run.

    Attributes:
        name: Who it is; whoever replaces it has the same name.
        pid: Known once it is born.
        status: Exit code, or minus the signal that ended it; None while it lives.
        stopped: Whether it stands still under SIGSTOP.
    """

    name: str
    pid: int = 0
    status: int | None = None
    stopped: bool = False

    @property
    def alive(self) -> bool:
        """Whether signals reach it."""
        return self.pid > 0 and self.status is None

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal unless it is dead already."""
        if self.alive:
            with suppress(ProcessLookupError):  # it ended, and `poll` has not told yet
                os.kill(self.pid, number)

    def go_on(self) -> None:
        """Ends its standing still."""
        self.stopped = False
        self.signal(signal.SIGCONT)


@dataclass(slots=True)
class Nursery:
    """A running nursery and its children."""

    process: subprocess.Popen[bytes]
    children: dict[int, Child] = field(default_factory=dict)
    _unborn: dict[str, Child] = field(default_factory=dict)
    _heard: bytes = b""

    def bear(self, name: str, task: Mapping[str, Any]) -> Child:
        """Starts a process; `poll` tells when it is born."""
        child = self._unborn[name] = Child(name)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**task, "name": name}).encode() + b"\n")
        self.process.stdin.flush()
        return child

    def poll(self, seconds: float) -> list[Child]:
        """Children that ended or stood still since the last call; waits this long for the first."""
        changed = []
        for fact in self._facts(seconds):
            if "born" in fact:
                child = self._unborn.pop(fact["name"])
                child.pid = fact["born"]
                self.children[child.pid] = child
            elif "stopped" in fact:
                child = self.children[fact["stopped"]]
                child.stopped = True
                changed.append(child)
            elif "ended" in fact:
                child = self.children.pop(fact["ended"])
                child.status = fact["status"]
                changed.append(child)
        return changed

    def end_all(self) -> None:
        """Kills every child and waits for their ends."""
        end = time.monotonic() + 30.0
        while (self.children or self._unborn) and time.monotonic() < end:
            for child in list(self.children.values()):
                child.signal(signal.SIGKILL)
            self.poll(0.2)

    def wait_ready(self) -> None:
        """Returns when it has imported everything."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if any("ready" in fact for fact in self._facts(0.5)):
                return
            if self.process.poll() is not None:
                raise RuntimeError("the nursery died; see its output above")
        raise TimeoutError("the nursery is not ready")

    def _facts(self, seconds: float) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return
        more = os.read(self.process.stdout.fileno(), 65_536)
        if not more:
            raise RuntimeError("the nursery died; see its output above")
        *lines, self._heard = (self._heard + more).split(b"\n")
        yield from (json.loads(line) for line in lines)


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery that is ready; at the end all its children are dead."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.nursery"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    running = Nursery(process)
    try:
        running.wait_ready()
        yield running
        running.end_all()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
