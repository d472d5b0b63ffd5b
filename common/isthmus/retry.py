"""When a failed call is repeated, and after how long: one rule, read from the typed error alone.

Transient errors (ComeBack) and broken uploads (UploadBroken) are repeated; every other error would fail the same way
again and is raised at once. Waits follow "full jitter" (Brooker 2015, Exponential Backoff And Jitter), never below
what the aggregator asked for.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.errors import ComeBack, IsthmusError, UploadBroken


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller goes on without any progress, and how its waits grow."""

    total_seconds: float = 600.0
    """Give up once this much time would have passed since the last progress."""
    first_seconds: float = 0.25
    """The longest first wait; doubles with every further one."""
    longest_seconds: float = 30.0
    """The longest wait of all, unless the aggregator asks for more."""


def next_wait(
    error: IsthmusError, *, attempt: int, elapsed_seconds: float, patience: Patience, jitter: float
) -> float | None:
    """Seconds to wait before the call is repeated; None: raise the error.

    Args:
        error: What the call raised.
        attempt: Failures in a row without progress so far, from 0.
        elapsed_seconds: Since the last progress.
        patience: The caller's.
        jitter: Uniform in [0, 1).
    """
    if not isinstance(error, ComeBack | UploadBroken):
        return None
    asked = error.retry_after_seconds if isinstance(error, ComeBack) else 0.0
    backoff = min(patience.longest_seconds, patience.first_seconds * 2.0 ** min(attempt, 30))
    wait = asked + jitter * backoff
    return wait if elapsed_seconds + wait <= patience.total_seconds else None


class Waiter:
    """Applies the rule to one call: counts its failures, waits between them, and gives up in the end."""

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._attempt = 0
        self._since = clock()

    def progressed(self) -> None:
        """Something new arrived: patience starts anew."""
        self._attempt = 0
        self._since = self._clock()

    def after(self, error: IsthmusError) -> None:
        """Waits before the call is repeated.

        Raises:
            IsthmusError: `error` itself, when repeating the call would not help or patience is over.
        """
        wait = next_wait(
            error,
            attempt=self._attempt,
            elapsed_seconds=self._clock() - self._since,
            patience=self._patience,
            jitter=self._jitter(),
        )
        if wait is None:
            raise error
        self._attempt += 1
        self._sleep(wait)
