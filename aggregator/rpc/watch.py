"""Waiting for a round: any number of waiting silos cost the store one look per federation and interval.

Knows the ledger's two facts that end a wait: the latest projector's number, and the federation's state.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from aggregator.ledger import Ledger
from isthmus.federation import FederationState


@dataclass(frozen=True, slots=True)
class Position:
    """Where a federation stands."""

    state: FederationState
    round: int
    seen_at: float


@dataclass(slots=True)
class _Look:
    """The last look at one federation; its lock keeps waiting threads from looking at the same time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    position: Position | None = None


class RoundWatch:
    """Holds callers back until a later round is open.

    Args:
        ledger: What is looked at.
        interval_seconds: How old a look may be.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, ledger: Ledger, *, interval_seconds: float, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._looks: dict[str, _Look] = {}
        self._open = True

    def wait(self, federation: str, *, after_round: int, seconds: float, alive: Callable[[], bool]) -> None:
        """Returns once a later round is open, the federation is not running, time is over, or the caller is gone."""
        end = self._monotonic() + seconds
        while self._open and alive():
            position = self._look(federation)
            remaining = end - self._monotonic()
            if position.round > after_round or position.state is not FederationState.RUNNING or remaining <= 0:
                return
            with self._changed:
                if self._open:
                    self._changed.wait(min(remaining, self._interval_seconds))

    def wake(self) -> None:
        """Makes everyone look again at once: something changed at this replica."""
        with self._changed:
            self._looks.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Lets everyone go, now and from now on: the replica is draining."""
        self._open = False
        self.wake()

    def _look(self, federation: str) -> Position:
        with self._changed:
            look = self._looks.setdefault(federation, _Look())
        with look.lock:
            position = look.position
            if position is None or self._monotonic() - position.seen_at >= self._interval_seconds:
                state = self._ledger.state(federation)
                number = self._ledger.latest_number(federation)
                position = look.position = Position(state, number + 1, self._monotonic())
        return position
