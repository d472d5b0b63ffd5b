"""What the agent is doing now, as a small JSON file that a display may read at any time."""

import enum
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

WRITE_EVERY_SECONDS = 0.25
"""Steps come faster than anyone looks; a change of phase is written at once."""


class Phase(enum.StrEnum):
    """What an agent does."""

    STARTING = "starting"
    WAITING = "waiting"
    PULLING = "pulling"
    EVALUATING = "evaluating"
    TRAINING = "training"
    PUSHING = "pushing"
    FINISHED = "finished"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"
    FAILED = "failed"


class StatusFile:
    """Writes the agent's state to a file, whole or not at all; several threads may tell it things.

    The file is one JSON object: `at` (UTC), `pid`, `peak_rss_bytes`, `phase`, and every fact told so far, for example
    silo, federation, round, num_rounds, evaluated, to_evaluate, step, num_steps, loss, samples, skipped, bytes_down,
    bytes_up, words. The last training that ended stays as trained_round and trained_loss: a reader may come when the
    next round has begun.

    Args:
        file: Where; its folder exists.
        now: The clock.
        facts: The first facts.
    """

    def __init__(self, file: Path, *, now: Callable[[], datetime], **facts: object) -> None:
        self._file = file
        self._now = now
        self._lock = threading.Lock()
        self._facts: dict[str, object] = {"phase": Phase.STARTING.value, "bytes_down": 0, "bytes_up": 0, **facts}
        self._moved = {"pull": (0, 0), "push": (0, 0)}
        self._written = 0.0
        self.tell()

    def enter(self, phase: Phase, **facts: object) -> None:
        """A new phase begins; what was said in `words` of the last one is gone."""
        self.tell(at_once=True, phase=phase.value, **{"words": "", **facts})

    def tell(self, *, at_once: bool = True, **facts: object) -> None:
        """Some facts changed; written at once, or with a later one."""
        with self._lock:
            self._facts.update(facts)
            if at_once or time.monotonic() - self._written >= WRITE_EVERY_SECONDS:
                self._write()

    def moved(self, direction: str, done: int, size: int) -> None:
        """A `isthmus.tensors.Progress`: bytes pulled or pushed, added up over all rounds."""
        before, last = self._moved[direction]
        before += last if done <= last else 0  # within one transfer it only grows
        self._moved[direction] = (before, done)
        key = "bytes_down" if direction == "pull" else "bytes_up"
        self.tell(at_once=done == size, **{key: before + done})

    def _write(self) -> None:
        """A full disk must not end a training: the file then stays as it was."""
        self._written = time.monotonic()
        document = {
            "at": self._now().isoformat(),
            "pid": os.getpid(),
            "peak_rss_bytes": peak_rss_bytes(),
            **self._facts,
        }
        aside = self._file.with_name(f".{self._file.name}.part")
        try:
            aside.write_text(json.dumps(document, indent=1), encoding="ascii")
            aside.replace(self._file)
        except OSError:
            aside.unlink(missing_ok=True)


def peak_rss_bytes() -> int:
    """The most memory that this process ever had resident."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
