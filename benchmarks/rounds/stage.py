"""Where one measurement takes place: a folder on a real disk, processes in roles, an end that leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.rounds.marks import FILE, Mark, read_marks
from benchmarks.rounds.meter import ROLE, SERVER, SILO, Meter
from benchmarks.rounds.work import Work

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "benchmarks"
"""Environments of peers, and folders of measurements."""

_LOOK_SECONDS = 0.02
_END_SECONDS = 5.0


class Failed(Exception):
    """A measurement did not come to its end; says why, with the last lines of its processes' logs."""


@dataclass(slots=True)
class Stage:
    """One measurement's place.

    Attributes:
        folder: For its files; gone at the end.
        work: What is measured.
        meter: Watches the processes.
        started_at: When the first server process was started; 0.0: not yet.
        idle_mib: The server's memory before it had anything to do.
    """

    folder: Path
    work: Work
    meter: Meter
    started_at: float = 0.0
    idle_mib: float = 0.0
    processes: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(
        self,
        role: str,
        command: Sequence[str | Path],
        *,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Path:
        """Starts a process in a role; the file that its output goes to."""
        log = self.folder / f"{role}-{len(self.processes)}.log"
        if role == SERVER and not self.started_at:
            self.started_at = time.time()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=self.environment(role) | (environment or {}),
                cwd=cwd or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes.append((log.name, process))
        return log

    def environment(self, role: str) -> dict[str, str]:
        """A child's environment: no settings and proxies of this machine, one thread of arithmetic each."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            kept.pop(name, None)
            kept.pop(name.upper(), None)
        return {
            **kept,
            **self.work.environment,
            "PYTHONPATH": f"{ROOT / 'common'}{os.pathsep}{ROOT}",
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            FILE: str(self.marks_file),
            ROLE: f"{self.meter.scene}:{role}",
        }

    @property
    def marks_file(self) -> Path:
        """Where the processes leave their marks."""
        return self.folder / "marks.jsonl"

    def marks(self, name: str) -> list[Mark]:
        """The marks of this name so far."""
        return [one for one in read_marks(self.marks_file) if one.name == name]

    def note_idle(self) -> None:
        """The server is up and has nothing to do: remembers what it holds now."""
        self.idle_mib = self.meter.look().mib.get(SERVER, 0.0)

    def wait(self, ready: Callable[[], bool], *, what: str, seconds: float) -> None:
        """Returns once it is so.

        Raises:
            Failed: It did not come true in time, or a process ended with an error before.
        """
        end = time.monotonic() + seconds
        while not ready():
            broken = [name for name, process in self.processes if process.poll() not in (None, 0)]
            if broken:
                raise Failed(f"{broken[0]} ended before {what}. {self.tail(broken[0])}")
            if time.monotonic() > end:
                raise Failed(f"{what} did not come within {seconds:.0f} s. {self.tail(self.processes[0][0])}")
            time.sleep(_LOOK_SECONDS)

    def wait_for_port(self, port: int, *, seconds: float = 90.0) -> None:
        """Returns once somebody listens there."""
        self.wait(lambda: _answers(port), what=f"port {port}", seconds=seconds)

    def wait_for_silos(self, *, seconds: float) -> None:
        """Returns once every silo's process has ended well."""
        silos = [process for name, process in self.processes if name.startswith(SILO)]
        self.wait(lambda: all(one.poll() is not None for one in silos), what="the silos' end", seconds=seconds)

    def wait_for_rounds(self, *, seconds: float) -> None:
        """Returns once the last round's projector is published."""
        last = self.work.last_round
        self.wait(
            lambda: any(one.round == last for one in self.marks("published")),
            what=f"projector {last}",
            seconds=seconds,
        )

    def tail(self, log: str) -> str:
        """The last lines of a log, in one."""
        lines = (self.folder / log).read_text(encoding="utf-8", errors="replace").splitlines()[-6:]
        return " | ".join(lines)[-1500:]

    def end(self) -> None:
        """Ends every process that this measurement started, and what those started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.meter.living():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            end = time.monotonic() + _END_SECONDS
            while time.monotonic() < end and self.meter.living():
                for _, process in self.processes:
                    process.poll()
                time.sleep(_LOOK_SECONDS)


@contextmanager
def stage(work: Work, *, scene: str) -> Iterator[Stage]:
    """A place for one measurement; nothing of it is left afterwards."""
    place = Path(work.place) if work.place else CACHE
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{scene}-", dir=place.absolute()))
    try:
        with Meter(f"{scene}-{os.getpid()}") as meter:
            made = Stage(folder, work, meter)
            try:
                yield made
            finally:
                made.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_in_order() -> None:
    """Makes SIGTERM, too, end this process by way of its `finally` blocks, so that no child outlives it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def python(module: str) -> list[str]:
    """The command that runs one of our modules."""
    return [sys.executable, "-m", module]


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False
