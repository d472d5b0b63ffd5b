"""What this replica did since it started, as counters. Lost with the process: whoever wants history asks Prometheus."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aggregator.metrics.labels import (
    CALLER_GONE,
    MAX_FEDERATIONS,
    OK,
    STEPS,
    VERBS,
    Names,
    reason_of,
)
from isthmus.errors import InvariantBroken, StoreFull

_ALERTED = (InvariantBroken.reason, StoreFull.reason)
"""Reasons whose first time must show: a series that begins with 1 did not grow, as Prometheus sees it."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_NORMS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3)


class Sized(Protocol):
    """A chunk of a payload."""

    @property
    def data(self) -> bytes | memoryview:
        """Its bytes."""
        ...


Chunk = TypeVar("Chunk", bound=Sized)


class Meters:
    """This replica's counters, in a registry of their own. Safe to use from many threads.

    Whoever calls with a federation's name has found that it exists.

    Attributes:
        registry: What is exposed.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._federations = Names(MAX_FEDERATIONS)
        named: dict[str, Any] = {"registry": self.registry}  # keywords of three constructors
        self._calls = Counter("isthmus_calls", "Calls that ended.", ["method", "reason"], **named)
        self._in_progress = Gauge("isthmus_calls_in_progress", "Calls that have a thread now.", **named)
        self._call_seconds = Histogram(
            "isthmus_call_seconds", "How long calls took, waits included.", ["method"], buckets=_SECONDS, **named
        )
        self._admitted = Counter("isthmus_deltas_admitted", "Deltas with a receipt from here.", ["federation"], **named)
        self._refused = Counter(
            "isthmus_deltas_refused", "Deltas refused here, on record.", ["federation", "reason"], **named
        )
        self._norms = Histogram(
            "isthmus_delta_l2_norm", "Norms of deltas admitted here.", ["federation"], buckets=_NORMS, **named
        )
        self._received = Counter("isthmus_received_bytes", "Payload bytes that came.", ["federation"], **named)
        self._sent = Counter("isthmus_sent_bytes", "Projector bytes that were sent.", ["federation"], **named)
        self._steps = Histogram(
            "isthmus_step_seconds", "Time since a cut's point before.", ["step"], buckets=_SECONDS, **named
        )
        self._store_seconds = Histogram(
            "isthmus_store_seconds", "How long the store took.", ["verb"], buckets=_SECONDS, **named
        )
        self._store_errors = Counter("isthmus_store_errors", "Verbs that failed.", ["verb", "reason"], **named)
        self._store_bytes = Counter("isthmus_store_bytes", "Bytes read and written.", ["verb"], **named)
        self._store_up = Gauge("isthmus_store_up", "1: the store answered when it was last asked.", **named)
        for verb in VERBS:  # there from the start: what is absent looks like what was never scraped
            self._store_seconds.labels(verb)
            for reason in _ALERTED:
                self._store_errors.labels(verb, reason)
        for step in STEPS:
            self._steps.labels(step)
        self._store_up.set(1)

    @contextmanager
    def call(self, method: str) -> Iterator[Callable[[str], None]]:
        """One call of a method that is served; yields what to tell, one of `REASONS`, if it fails."""
        name, began, reasons = method.rpartition("/")[2], time.monotonic(), [OK]
        for reason in _ALERTED:
            self._calls.labels(name, reason)
        self._in_progress.inc()
        try:
            yield reasons.append
        except GeneratorExit:
            reasons.append(CALLER_GONE)
            raise
        finally:
            self._in_progress.dec()
            self._call_seconds.labels(name).observe(time.monotonic() - began)
            self._calls.labels(name, reasons[-1]).inc()

    def admitted(self, federation: str, *, l2_norm: float) -> None:
        """A delta has its receipt."""
        label = self._federations.label(federation)
        self._admitted.labels(label).inc()
        self._norms.labels(label).observe(l2_norm)

    def refused(self, federation: str, refusal: Exception) -> None:
        """A delta was refused."""
        self._refused.labels(self._federations.label(federation), reason_of(refusal)).inc()

    def receiving(self, federation: str, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """The same chunks, counted as they come."""
        counter = self._received.labels(self._federations.label(federation))
        for chunk in chunks:
            counter.inc(len(chunk.data))
            yield chunk

    def sent(self, federation: str, num_bytes: int) -> None:
        """Bytes of a projector were sent."""
        self._sent.labels(self._federations.label(federation)).inc(num_bytes)

    def stepped(self, reached: Mapping[str, float]) -> None:
        """A cut reached these points at these seconds, in this order."""
        for (_, before), (point, at) in pairwise(reached.items()):
            if point in STEPS:
                self._steps.labels(point).observe(at - before)

    @contextmanager
    def stored(self, verb: str, num_bytes: int = 0) -> Iterator[None]:
        """One verb of the store, and how many bytes it writes."""
        began = time.monotonic()
        try:
            yield
        except KeyError:
            raise  # an answer like others
        except Exception as error:
            self._store_errors.labels(verb, reason_of(error)).inc()
            raise
        finally:
            self._store_seconds.labels(verb).observe(time.monotonic() - began)
        if num_bytes:
            self._store_bytes.labels(verb).inc(num_bytes)

    def read(self, num_bytes: int) -> None:
        """Bytes were read from the store."""
        self._store_bytes.labels("get").inc(num_bytes)

    def store_answers(self, answers: bool) -> None:
        """Whether the store answered when it was last asked."""
        self._store_up.set(answers)
