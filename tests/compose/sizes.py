"""How large the images are, and how long a composition takes from nothing to its first projector."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from deploy.demo.recipe import FEDERATION
from tests.compose.engine import BASE, Composition, inspect, run

IMAGES = ("isthmus-aggregator", "isthmus-gate", "isthmus-store", "isthmus-silo", "isthmus-demo")
STEPS = ("authority", "prepare", "store", "aggregator", "gate", "invite", "animals", "judge")


def report(composition: Composition, *, build_seconds: float) -> str:
    """Markdown: a table of sizes, a table of times."""
    base = size_of(BASE)
    sizes = "\n".join(f"| {image} | {size_of(image):,.0f} | {size_of(image) - base:,.0f} |" for image in IMAGES)
    times = "\n".join(f"| {what} | {seconds:.1f} |" for what, seconds in times_of(composition))
    return f"""| image | MB | of these beyond {BASE} |
|---|---|---|
{sizes}

| seconds after `docker compose up` | s |
|---|---|
{times}

The build took {build_seconds:.0f} s.
"""


def size_of(image: str) -> float:
    """An image's MB, the base that all share included."""
    return int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6


def times_of(composition: Composition) -> Iterator[tuple[str, float]]:
    """What happened when, in seconds after the first container was started."""
    states = {step: inspect(composition.containers(step)[0])["State"] for step in STEPS}
    begun = min(at(state["StartedAt"]) for state in states.values())
    for step, state in states.items():
        yield f"{step} starts", at(state["StartedAt"]) - begun
        if "Health" in state and step != "animals":
            yield f"{step} is healthy", first_healthy(state) - begun
        elif state["Status"] == "exited":
            yield f"{step} ends", at(state["FinishedAt"]) - begun
    for one in composition.isthmus("lineage", "--federation", FEDERATION)["projectors"]:
        if one["cut_at"]:
            yield f"round {one['number']} is cut", at(one["cut_at"]) - begun


def first_healthy(state: dict[str, Any]) -> float:
    """When the first of the health checks that the engine remembers, its last five, was passed."""
    return min((at(one["End"]) for one in state["Health"]["Log"] if one["ExitCode"] == 0), default=float("nan"))


def at(text: str) -> float:
    """Seconds of a time as the engine writes it, which has nine digits of a second."""
    whole, _, rest = text.replace("Z", "+00:00").partition(".")
    digits = rest.split("+")[0].split("-")[0]
    return datetime.fromisoformat(whole + (rest[len(digits) :] if rest else "")).timestamp() + float(f"0.{digits or 0}")
