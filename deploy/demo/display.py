"""What the demo shows while it runs: a live table on a terminal, one line per event anywhere else."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PHASE_STYLES = {
    "starting": "dim",
    "waiting": "dim",
    "pulling": "cyan",
    "evaluating": "cyan",
    "training": "bold green",
    "pushing": "magenta",
    "finished": "green",
    "failed": "bold red",
}
UNITS = (("MB", 1e6), ("kB", 1e3))


class Display:
    """Shows stages, silos and workers; several threads may tell it things.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._stage = ""
        self._silos: Mapping[str, Mapping[str, Any]] = {}
        self._workers: dict[str, str] = {}
        self._said: set[tuple[str, object]] = set()
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def stage(self, words: str) -> None:
        """A new part of the demo begins."""
        with self._lock:
            self._stage, self._silos, self._workers = words, {}, {}
        self.say(words)

    def say(self, words: str) -> None:
        """One line that stays."""
        seconds = time.monotonic() - self._started
        self._console.print(Text(f"{seconds:6.1f} s  ", style="dim") + Text(words), soft_wrap=True)

    def silos(self, statuses: Mapping[str, Mapping[str, Any]]) -> None:
        """How every silo is: the status files of the agents, by name."""
        with self._lock:
            self._silos = dict(statuses)
        for silo, status in statuses.items():
            event = (silo, status.get("trained_round"))
            if event[1] is not None and event not in self._said:
                self._said.add(event)
                self.say(f"{silo}: trained round {event[1]}, last loss {status['trained_loss']:.2f}")

    def worker(self, name: str, words: str) -> None:
        """What a worker does now."""
        with self._lock:
            self._workers[name] = words

    def _render(self) -> Group:
        with self._lock:
            rows: list[Table] = []
            if self._silos:
                rows.append(_silo_table(self._silos))
            if self._workers:
                rows.append(_worker_table(self._workers))
            seconds = time.monotonic() - self._started
            return Group(Text(f"{self._stage}  {seconds:.0f} s", style="bold"), *rows)


def moved(num_bytes: int) -> str:
    """Bytes for people, in powers of ten."""
    for unit, amount in UNITS:
        if num_bytes >= amount:
            return f"{num_bytes / amount:.1f} {unit}"
    return f"{num_bytes} B"


def _silo_table(statuses: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("silo", "phase", "round", "progress"):
        table.add_column(heading, style="bold" if heading == "silo" else "")
    for heading in ("loss", "down", "up"):
        table.add_column(heading, justify="right")
    for silo, status in statuses.items():
        phase = str(status["phase"])
        loss = status.get("loss")
        table.add_row(
            silo,
            Text(phase, style=PHASE_STYLES.get(phase, "")),
            f"{status['round']} of {status['num_rounds']}" if status.get("round") else "",
            ProgressBar(total=max(status.get("num_steps", 0), 1), completed=status.get("step", 0), width=24),
            "" if loss is None else f"{loss:.2f}",
            moved(status.get("bytes_down", 0)),
            moved(status.get("bytes_up", 0)),
        )
    return table


def _worker_table(workers: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, words in sorted(workers.items()):
        table.add_row(Text(name, style="bold"), words)
    return table
