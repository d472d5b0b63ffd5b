"""Ends a driver that nobody waits for any more, or in which nothing happens: whatever it hangs in."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable

_LOOK_SECONDS = 0.5


class Watchdog:
    """Watches from a thread of its own, from its construction on.

    The process ends at once, without answer, when its standard input ends: whoever started it is gone. It ends after
    `on_idle` when `alive` was not called for too long.

    Args:
        idle_seconds: How long that is.
        on_idle: Gives the last answer.
    """

    def __init__(self, idle_seconds: float, *, on_idle: Callable[[], None]) -> None:
        self._idle_seconds = idle_seconds
        self._on_idle = on_idle
        self._alive_at = time.monotonic()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self) -> None:
        """Something happened."""
        self._alive_at = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._alive_at < self._idle_seconds:
            readable, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
            if readable and not os.read(sys.stdin.fileno(), 1):
                os._exit(1)
        self._on_idle()
        os._exit(1)
