"""The demo's child processes: started with a log each, watched, and ended whatever happens.

A child that dies early is a failure of the whole demo, told with the last words of its log.
"""

import json
import os
import signal
import subprocess  # nosec B404  # judged at each call
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import psutil

from isthmus.errors import IsthmusError

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the demo."""

END_SECONDS = 10.0
"""How long a child may take to end by itself before it is killed."""

SAMPLE_SECONDS = 0.25
"""How often the children's memory is looked at."""


class ChildFailed(IsthmusError):
    """A process of the demo ended before its work was done; says which, and its last words."""

    reason = "CHILD_FAILED"


class Children:
    """Processes that live no longer than this context; knows the most memory that each has used.

    Args:
        logs: Folder of one log per child.
        root: Of the repository; the children's working folder.
    """

    def __init__(self, logs: Path, *, root: Path) -> None:
        self._logs = logs
        self._root = root
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._peaks: dict[str, int] = {}
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_memory, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _signals_held():
            self._ended.set()
            self._watch.join()
            with self._lock:  # a thread of the demo may be starting one more
                children = list(self._running.values())
            _end(children)

    @property
    def peak_rss_bytes(self) -> dict[str, int]:
        """The most memory that each child had resident, by name; pages that children share count for each."""
        with self._lock:
            return dict(self._peaks)

    def start(self, name: str, arguments: Sequence[str], *, talks: bool = False) -> subprocess.Popen[str]:
        """Starts `python -m` with these arguments; its standard error goes to <name>.log.

        Args:
            name: Unique.
            arguments: The module and its arguments.
            talks: Whether the demo writes to its standard input and reads its standard output as text.
        """
        # A signal's exception between a child's start and its entry here would leave it running for ever.
        with self._lock, (self._logs / f"{name}.log").open("w", encoding="utf-8") as log, _signals_held():
            if self._ended.is_set():
                raise ChildFailed(f"{name} was not started: the demo is ending.")
            child = subprocess.Popen(  # nosec B603  # no shell; the arguments are our own
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._root,
                env=environment(self._root),
                # Ctrl-C ends the demo, which ends its children in order: they must not each get it, too.
                start_new_session=True,
            )
            self._running[name] = child
        return child

    def run(self, name: str, arguments: Sequence[str]) -> str:
        """Runs a short command to its end and returns what it printed.

        Raises:
            ChildFailed: It ended with another code than 0.
        """
        child = self.start(name, arguments)
        assert child.stdout is not None  # nosec B101  # it was asked for above
        printed = child.stdout.read()
        if child.wait():
            raise ChildFailed(self._obituary(name))
        return printed

    def has_ended(self, name: str) -> bool:
        """Whether the child has ended, however it did."""
        return self._running[name].poll() is not None

    def mourn(self, name: str) -> ChildFailed:
        """The failure of the demo that the child's end is, in its last words."""
        return ChildFailed(self._obituary(name))

    def read_line(self, name: str) -> str:
        """The next line that the child writes to its standard output.

        Raises:
            ChildFailed: It ended instead.
        """
        child = self._running[name]
        assert child.stdout is not None  # nosec B101  # every child is started with one
        line = child.stdout.readline()
        if not line:
            _wait(child, END_SECONDS)
            raise ChildFailed(self._obituary(name))
        return line

    def stop(self, name: str) -> None:
        """Asks the child to end, and waits for it."""
        child = self._running[name]
        child.terminate()
        _wait(child, END_SECONDS)

    def _obituary(self, name: str) -> str:
        log = self._logs / f"{name}.log"
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return f"{name} ended with code {self._running[name].poll()}: {_words(lines)} Its whole log: {log}"

    def _watch_memory(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            with self._lock:
                running = {name: child.pid for name, child in self._running.items() if child.poll() is None}
            for name, pid in running.items():
                try:
                    resident = psutil.Process(pid).memory_info().rss
                except psutil.Error:
                    continue
                with self._lock:
                    self._peaks[name] = max(self._peaks.get(name, 0), resident)


def environment(root: Path) -> dict[str, str]:
    """Of a child: one thread for every library, and the tree's own packages, so that a clone runs uninstalled."""
    paths = [str(root / "common"), str(root), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


@contextmanager
def _signals_held() -> Iterator[None]:
    """What ends the demo waits until this context has ended; only the main thread is ever told of signals.

    A mask would not do: the kernel hands a signal to any thread that takes it, and children inherit the mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in held:
            signal.raise_signal(late)


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + END_SECONDS
    for child in children:
        _wait(child, max(deadline - time.monotonic(), 0.1))
        for stream in (child.stdin, child.stdout):
            if stream:
                stream.close()


def _wait(child: subprocess.Popen[str], seconds: float) -> None:
    """Waits for the child's end, and brings it about when it takes too long."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _words(lines: Sequence[str]) -> str:
    """The last thing a log says, in words: its last line is plain text, or a structured record with words."""
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            return line
        if isinstance(record, dict) and record.get("words"):
            return str(record["words"])
    return "it said nothing."
