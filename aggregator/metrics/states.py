"""Standings as metrics, and the loop that reads them from the store: a scrape itself never waits for the store."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from aggregator.ledger import Ledger
from aggregator.metrics.labels import MAX_FEDERATIONS, MAX_SILOS, PHASES
from aggregator.metrics.standing import Standing, standing_of
from isthmus.errors import IsthmusError
from isthmus.logs import Event, log_event

_LOG = logging.getLogger(__name__)

_NUMBERS: tuple[tuple[str, str, Callable[[Standing], float | None]], ...] = (
    ("isthmus_round", "The open round; after the last, the number of rounds + 1.", lambda one: one.round),
    ("isthmus_rounds_planned", "Rounds that the federation has.", lambda one: one.num_rounds),
    ("isthmus_round_contributions", "What a cut of the open round would take.", lambda one: one.num_contributions),
    ("isthmus_round_quorum", "The least that the open round may be cut with.", lambda one: one.quorum),
    ("isthmus_round_opened_timestamp_seconds", "When the open round began to count.", lambda one: one.opened_at),
    ("isthmus_round_deadline_timestamp_seconds", "When it may be cut with its quorum.", lambda one: one.deadline),
    ("isthmus_silos_active", "Silos enrolled and not revoked.", lambda one: len(one.active_silos)),
    ("isthmus_silos_waited_for", "Active silos that have not answered.", lambda one: len(one.waited_for)),
    ("isthmus_silos_quarantined", "Silos barred for hostile payloads.", lambda one: len(one.quarantined)),
    ("isthmus_published_timestamp_seconds", "When the newest round was cut.", lambda one: one.last.cut_at),
    ("isthmus_published_round_seconds", "How long the newest round took.", lambda one: one.last.seconds),
    ("isthmus_published_silos", "Silos in the newest roster.", lambda one: one.last.num_silos),
    ("isthmus_published_examples", "Examples that they claim.", lambda one: one.last.num_examples),
    ("isthmus_published_loss", "Mean of their train_loss, as they report it.", lambda one: one.last.loss),
    (
        "isthmus_published_held_out_silos",
        "Silos in the newest roster that evaluated the projector before it.",
        lambda one: one.last.held_out.num_silos if one.last.held_out else 0,
    ),
)


class States(Collector):
    """The federations' metrics, as they were last read, and what is this replica's trouble with each.

    Args:
        trouble: Why this replica's last step of a federation failed; empty when it did not.
    """

    def __init__(self, trouble: Callable[[str], str]) -> None:
        self._trouble = trouble
        self.standings: Sequence[Standing] = ()
        self.names: Sequence[str] = ()
        self.read_at = 0.0

    def collect(self) -> Iterator[Metric]:
        """Every metric family; Prometheus's library calls it at each scrape."""
        standings = self.standings
        yield GaugeMetricFamily("isthmus_federations", "Federations in the store.", value=len(self.names))
        yield GaugeMetricFamily("isthmus_state_read_timestamp_seconds", "When that was read.", value=self.read_at)
        for name, text, number in _NUMBERS:
            family = GaugeMetricFamily(name, text, labels=["federation"])
            for one in standings:
                if (value := number(one)) is not None:
                    family.add_metric([one.name], value)
            yield family
        yield from _counters(standings)
        yield from _by_phase_and_stat(standings)
        yield from _by_silo(standings)
        trouble = GaugeMetricFamily("isthmus_trouble", "1: this replica's last step failed.", labels=["federation"])
        for federation in self.names[:MAX_FEDERATIONS]:  # those that cannot be read, too
            trouble.add_metric([federation], float(bool(self._trouble(federation))))
        yield trouble


def _counters(standings: Sequence[Standing]) -> Iterator[Metric]:
    published = CounterMetricFamily("isthmus_rounds_published", "Rounds that are over.", labels=["federation"])
    abandoned = CounterMetricFamily("isthmus_rounds_abandoned", "Those without their quorum.", labels=["federation"])
    reverted = CounterMetricFamily("isthmus_rounds_reverted", "Those that evaluation took back.", labels=["federation"])
    for one in standings:
        published.add_metric([one.name], one.last.number)
        if one.num_counted == one.last.number:  # else a counter would seem to grow while it is still being read
            abandoned.add_metric([one.name], one.num_abandoned)
            reverted.add_metric([one.name], one.num_reverted)
    yield from (published, abandoned, reverted)


def _by_phase_and_stat(standings: Sequence[Standing]) -> Iterator[Metric]:
    phases = GaugeMetricFamily("isthmus_round_phase", "1: what the round is at.", labels=["federation", "phase"])
    norms = GaugeMetricFamily("isthmus_published_l2_norm", "Norms of the newest roster.", labels=["federation", "stat"])
    held_out = GaugeMetricFamily(
        "isthmus_published_held_out_loss",
        "Held-out losses that the newest roster reports of the projector before it.",
        labels=["federation", "stat"],
    )
    for one in standings:
        for phase in PHASES:
            phases.add_metric([one.name, phase], float(phase == one.phase))
        for stat, norm in one.last.norms.items():
            norms.add_metric([one.name, stat], norm)
        for stat, loss in one.last.held_out_losses.items():
            held_out.add_metric([one.name, stat], loss)
    yield from (phases, norms, held_out)


def _by_silo(standings: Sequence[Standing]) -> Iterator[Metric]:
    waited = GaugeMetricFamily("isthmus_silo_waited_for", "1: it has not answered.", labels=["federation", "silo"])
    barred = GaugeMetricFamily("isthmus_silo_quarantined", "1: it is quarantined.", labels=["federation", "silo"])
    left_out = GaugeMetricFamily("isthmus_silos_left_out", "Silos without series.", labels=["federation"])
    for one in standings:
        names = sorted({*one.active_silos, *one.quarantined}, key=lambda silo: (silo not in one.waited_for, silo))
        for silo in names[:MAX_SILOS]:
            waited.add_metric([one.name, silo], float(silo in one.waited_for))
            barred.add_metric([one.name, silo], float(silo in one.quarantined))
        left_out.add_metric([one.name], max(0, len(names) - MAX_SILOS))
    yield from (waited, barred, left_out)


class StateReader:
    """Reads where all federations stand, every `interval_seconds`.

    Args:
        ledger: Where they stand.
        states: What is told.
        clock: The instant now, UTC.
        interval_seconds: Between two turns.
    """

    def __init__(
        self, ledger: Ledger, states: States, *, clock: Callable[[], datetime], interval_seconds: float
    ) -> None:
        self._ledger = ledger
        self._states = states
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._known: dict[str, Standing] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="states", daemon=True)

    def start(self) -> None:
        """Begins, in a thread of its own."""
        self._thread.start()

    def stop(self, *, timeout: float) -> None:
        """Ends; reading changes nothing, so it may also die anywhere."""
        self._stopped.set()
        self._thread.join(timeout)

    def turn(self) -> None:
        """Reads all federations once. One that cannot be read keeps what is known of it."""
        names = self._ledger.federations()
        for name in names[:MAX_FEDERATIONS]:
            try:
                self._known[name] = standing_of(self._ledger, name, now=self._clock(), before=self._known.get(name))
            except IsthmusError as error:
                log_event(_LOG, Event.STATE_UNREAD, logging.DEBUG, federation=name, reason=error.reason)
            except Exception:  # a document that makes no sense must not hide other federations
                _LOG.debug(Event.STATE_UNREAD.value, exc_info=True)
        self._known = {name: self._known[name] for name in names if name in self._known}
        self._states.standings = tuple(self._known.values())
        self._states.names = names
        self._states.read_at = time.time()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.turn()
            except IsthmusError as error:  # the loop that advances federations tells it, louder
                log_event(_LOG, Event.STATE_UNREAD, logging.DEBUG, reason=error.reason)
            except Exception:  # a bug must not end the loop; what is told grows old, and an alert says so
                _LOG.exception(Event.STATE_UNREAD.value)
            self._stopped.wait(self._interval_seconds)
