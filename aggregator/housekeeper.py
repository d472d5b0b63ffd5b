"""The loop that tidies every federation now and then, beside the one that advances them."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from aggregator.housekeeping import Due, Kind, Tidied, further, tidy
from aggregator.ledger import Ledger
from isthmus.errors import IsthmusError
from isthmus.logs import Event, log_event

_LOG = logging.getLogger(__name__)

REMOVED_BY = "an aggregator"
"""Who removes, as the records of this loop say."""

_EVENTS = {Kind.DELTAS: Event.DELTAS_REMOVED, Kind.UPLOADS: Event.UPLOADS_REMOVED}


class Housekeeper:
    """Tidies all federations in turn, at the start and then every `interval_seconds`.

    What it remembers only spares it to look at old rounds again. One federation's failure never stops another's.

    Args:
        ledger: Where everything stands.
        clock: The instant now, UTC.
        interval_seconds: Between two turns; 0: never.
    """

    def __init__(self, ledger: Ledger, *, clock: Callable[[], datetime], interval_seconds: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._tidied: dict[str, Tidied] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begins, in a thread of its own, unless it is switched off."""
        if self._interval_seconds > 0:
            self._thread.start()

    def stop(self, *, timeout: float) -> None:
        """Ends before the next round; tidying may also die anywhere, so `timeout` seconds are enough."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def turn(self) -> None:
        """Tidies every federation as far as it goes now."""
        for name in self._ledger.federations():
            try:
                self._tidy(name)
            except IsthmusError as error:
                log_event(_LOG, Event.HOUSEKEEPING_FAILED, logging.WARNING, federation=name, reason=str(error))
            except Exception:  # a bug, or a document that makes no sense, must not keep other federations untidied
                _LOG.exception(Event.HOUSEKEEPING_FAILED.value)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.turn()
            except IsthmusError as error:
                log_event(_LOG, Event.HOUSEKEEPING_FAILED, logging.WARNING, reason=str(error))
            except Exception:  # a bug must not end the loop: the next turn may find another state
                _LOG.exception(Event.HOUSEKEEPING_FAILED.value)
            self._stopped.wait(self._interval_seconds)

    def _tidy(self, name: str) -> None:
        since = self._tidied.get(name, Tidied())
        for done in tidy(self._ledger, name, now=self._clock(), by=REMOVED_BY, since=since):
            self._tidied[name] = since = further(since, done)
            _tell(name, done)
            if self._stopped.is_set():
                return


def _tell(name: str, done: Due) -> None:
    if done.entries:
        log_event(
            _LOG,
            _EVENTS[done.kind],
            federation=name,
            round=done.round,
            num_keys=len(done.entries),
            size_bytes=done.size_bytes,
        )
