"""Spans of what a process does for one delta. Does nothing until `configure` names where they go.

A span holds names of what exists, numbers and reasons of the table of errors: no text of anybody's, and no exception's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from isthmus.errors import ConfigInvalid, IsthmusError
from isthmus.trace_ids import TRACEPARENT, Place, below, of_silo, traceparent_of

if TYPE_CHECKING:
    from isthmus.exporting import Exporting

Fact = str | int | float

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables; one of them is enough."""

_exporting: "Exporting | None" = None


def configure(service: str, *, endpoint: str, share: float, environment: Mapping[str, str]) -> None:
    """Sends this process's spans to an OTLP endpoint, if one is named; called once, by an entry point.

    Args:
        service: What the spans call this process.
        endpoint: "http://host:4317", or https; "": the environment's.
        share: Of all traces, in (0, 1]: which ones follows from their ids, so that all processes keep the same.
        environment: Of the process.

    Raises:
        ConfigInvalid: One is named, and what sends spans is not installed.
    """
    global _exporting
    if not endpoint and not any(environment.get(name) for name in ENDPOINTS):
        return
    try:
        from isthmus.exporting import Exporting
    except ModuleNotFoundError as error:
        raise ConfigInvalid(
            f"An endpoint for traces is named, and {error.name} is not installed. Install it with: "
            'pip install ".[traces]" in a clone, or name no endpoint.'
        ) from error
    _exporting = Exporting(service, endpoint=endpoint, share=share)


def end() -> None:
    """Sends what is left, and no more from then on."""
    global _exporting
    if _exporting is not None:
        ended, _exporting = _exporting, None
        ended.end()


def on() -> bool:
    """Whether spans go anywhere."""
    return _exporting is not None


class Span:
    """A span under way; does nothing where none is."""

    def __init__(self, exporting: "Exporting | None" = None) -> None:
        self._exporting = exporting

    def tell(self, **facts: Fact) -> None:
        """Adds facts to it."""
        if self._exporting is not None:
            self._exporting.tell(**facts)

    def link(self, place: Place) -> None:
        """Links it to a span whose place has a span id."""
        if self._exporting is not None:
            self._exporting.link(place)


@contextmanager
def span(
    name: str, place: Place, *, links: Sequence[Place] = (), since: float | None = None, **facts: Fact
) -> Iterator[Span]:
    """One span, under the span of the same trace that is under way in this thread, if there is one.

    Args:
        name: What is done.
        place: Where it belongs.
        links: Places of spans that it goes back to, each with a span id.
        since: When it began, in seconds since 1970; None: now.
        facts: Names of what exists, and numbers.
    """
    exporting = _exporting
    if exporting is None:
        yield Span()
        return
    with exporting.span(name, place, links=links, since=since, facts=facts):
        try:
            yield Span(exporting)
        except BaseException as error:
            exporting.failed(error.reason if isinstance(error, IsthmusError) else type(error).__name__)
            raise


def silo_span(
    name: str, federation: str, round_number: int, *, silo: str, traceparent: str = ""
) -> AbstractContextManager[Span]:
    """One span of a silo's part in a round, at either side.

    Args:
        name: What is done.
        federation: Which federation.
        round_number: The round that the silo trains from.
        silo: Its name, as the federation knows it.
        traceparent: What the caller sent, at the side that is called; "": nothing.
    """
    place = below(of_silo(federation, round_number, silo), traceparent)
    return span(name, place, federation=federation, round=round_number, silo=silo)


def lasted(name: str, place: Place, *, since: float, until: float, links: Sequence[Place] = ()) -> None:
    """One span that is over already: from and to, in seconds since 1970."""
    if _exporting is not None:
        _exporting.lasted(name, place, links=links, since=since, until=until)


def outgoing() -> tuple[tuple[str, str], ...]:
    """What a call's metadata carries: the span under way in this thread."""
    ids = _exporting.current() if _exporting is not None else None
    return ((TRACEPARENT, traceparent_of(*ids)),) if ids else ()


def ids() -> dict[str, str]:
    """The ids of the span under way in this thread, for a line of a log."""
    found = _exporting.current() if _exporting is not None else None
    return {"trace_id": f"{found[0]:032x}", "span_id": f"{found[1]:016x}"} if found else {}
