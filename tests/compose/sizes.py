"""How large the images are, and how long a composition takes from `docker compose up` to its projectors."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from deploy.demo.pictures import TOPICS
from isthmus.logs import Event
from tests.compose.engine import BASE, Composition, inspect, logged, run
from tests.compose.federation import told_by
from tests.compose.logs import Entry, entries
from tests.compose.starts import Happening, seconds_to_health

IMAGES = ("isthmus-aggregator", "isthmus-gate", "isthmus-store", "isthmus-silo", "isthmus-demo")
STEPS = ("authority", "prepare", "store", "aggregator", "gate", "invite", "animals", "judge")
LASTING = ("store", "aggregator", "gate", *TOPICS)
SAYS: dict[str, Event] = {"aggregator": Event.AGGREGATOR_STARTED, **dict.fromkeys(TOPICS, Event.AGENT_STARTED)}
"""What a container logs once it does its work."""


def report(composition: Composition, *, build_seconds: float, begun: float, happened: Sequence[Happening]) -> str:
    """Markdown: tables of sizes, of starts, and of what came when.

    Args:
        composition: One whose federation is finished, and whose containers are still there.
        build_seconds: Of its images.
        begun: When `docker compose up` was typed; seconds since 1970.
        happened: The engine's events since.
    """
    base = size_of(BASE)
    sizes = "\n".join(f"| {image} | {size_of(image):,.0f} | {size_of(image) - base:,.0f} |" for image in IMAGES)
    starts = "\n".join(
        f"| {service} | {says} | {healthy} |" for service, says, healthy in starts_of(composition, happened)
    )
    times = "\n".join(
        f"| {what} | {at - begun:.1f} |" for what, at in sorted(times_of(composition), key=lambda one: one[1])
    )
    return f"""| image | MB | of these beyond {BASE} |
|---|---|---|
{sizes}

| seconds from a container's start | until it says that it works | until the engine calls it healthy |
|---|---|---|
{starts}

| seconds after `docker compose up` | s |
|---|---|
{times}

The build took {build_seconds:.0f} s.
"""


def size_of(image: str) -> float:
    """An image's MB, the base that all share included."""
    return int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6


def starts_of(composition: Composition, happened: Sequence[Happening]) -> Iterator[tuple[str, str, str]]:
    """Of each service that lasts: its name, and both durations of each of its containers, in words."""
    for service in LASTING:
        says = (
            [seconds_to_word(one, SAYS[service]) for one in composition.containers(service)] if service in SAYS else []
        )
        healthy = seconds_to_health(happened, service)
        yield service, *(", ".join(f"{seconds:.1f}" for seconds in told) for told in (says, healthy))


def seconds_to_word(container: str, event: Event) -> float:
    """From a container's start until it logged an event."""
    return when(entries(logged(container)), event) - at(inspect(container)["State"]["StartedAt"])


def times_of(composition: Composition) -> Iterator[tuple[str, float]]:
    """What happened when, in seconds since 1970."""
    for step in STEPS:
        state = inspect(composition.containers(step)[0])["State"]
        yield f"{step} starts", at(state["StartedAt"])
        if state["Status"] == "exited":
            yield f"{step} ends", at(state["FinishedAt"])
    published: dict[int, float] = {}
    for one in told_by(composition, "aggregator"):
        if one.event == Event.PROJECTOR_PUBLISHED:
            published.setdefault(json.loads(one.line)["round"], one.at)  # a second replica may publish the same bytes
    yield from ((f"projector {number} is published", second) for number, second in published.items())


def when(told: Sequence[Entry], event: Event) -> float:
    """When an event was logged for the first time; NaN: never."""
    return next((one.at for one in told if one.event == event), float("nan"))


def at(text: str) -> float:
    """Seconds of a time as the engine writes it, which has nine digits of a second."""
    whole, _, rest = text.replace("Z", "+00:00").partition(".")
    digits = rest.split("+")[0].split("-")[0]
    return datetime.fromisoformat(whole + (rest[len(digits) :] if rest else "")).timestamp() + float(f"0.{digits or 0}")
