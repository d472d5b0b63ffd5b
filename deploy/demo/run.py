"""The demo from its ingredients to its report: lay out the pictures, federate, train the yardsticks, judge, write."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.display import Display
from deploy.demo.federate import Federated, Models, federate
from deploy.demo.packages import Package
from deploy.demo.pictures import Collection, Concept, lay_out
from deploy.demo.processes import Children
from deploy.demo.recipe import Recipe
from deploy.demo.tasks import Answer, Task
from deploy.demo.yardsticks import Measured, measure
from isthmus.errors import ConfigInvalid
from silo_agent.status_file import peak_rss_bytes

NUM_WORKERS = 2
"""Processes that measure: the demo is made for two cores."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a demo is made of.

    Attributes:
        models: The frozen models.
        concepts: To draw pictures from.
        packages: Where all of it came from, for the report.
    """

    models: Models
    concepts: Sequence[Concept]
    packages: Sequence[Package]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo found out.

    Attributes:
        collection: The pictures.
        federated: What the federation left.
        measured: What was measured.
        seconds: By phase.
        peak_rss_bytes: By process.
    """

    collection: Collection
    federated: Federated
    measured: Measured
    seconds: dict[str, float]
    peak_rss_bytes: dict[str, int]


def run(ingredients: Ingredients, recipe: Recipe, *, folder: Path, root: Path, display: Display) -> Outcome:
    """Runs a demo; every process that it starts has ended when this returns or raises.

    Args:
        ingredients: Models and pictures.
        recipe: How much of what.
        folder: Of everything that is written on the way; what it held before is deleted.
        root: Of the repository.
        display: Shows what goes on.

    Raises:
        ChildFailed: A process ended before its work was done.
        IsthmusError: Anything else that a person can understand and mend.
    """
    clock = [time.monotonic()]
    _empty(folder)
    collection = lay_out(
        ingredients.concepts,
        folder,
        concepts_per_silo=recipe.concepts_per_silo,
        held_out_per_topic=recipe.held_out_per_topic,
        seed=recipe.seed,
    )
    models, num_silos = ingredients.models, len(collection.silos)
    with Children(folder / "logs", root=root) as children:
        display.stage(f"Federating: one aggregator, {num_silos} silos, {recipe.rounds} rounds")
        federated = federate(
            folder, collection.silos, models=models, recipe=recipe, children=children, watch=display.silos
        )
        clock.append(time.monotonic())
        display.stage("Training each silo alone and all of them pooled, and measuring every projector")
        measured = measure(
            folder,
            collection,
            federated,
            models=models,
            recipe=recipe,
            children=children,
            num_workers=NUM_WORKERS,
            told=lambda worker, task, answer: _tell(display, worker, task=task, answer=answer),
        )
        clock.append(time.monotonic())
        peaks = _peaks(children.peak_rss_bytes, federated)
    seconds = {"federation": clock[1] - clock[0], "yardsticks": clock[2] - clock[1]}
    return Outcome(collection, federated, measured, seconds, peaks)


def _empty(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigInvalid(f"The folder {folder} cannot be emptied: {error}. Name another with --out.") from error


def _tell(display: Display, worker: str, *, task: Task, answer: Answer) -> None:
    what = {"train": f"training {task.name}", "measure": f"measuring {task.name}", "describe": "writing captions"}
    done = " done" if answer.kind == "done" else ""
    display.worker(worker, f"{what[task.kind]} {answer.words}{done}")
    if answer.kind == "done" and answer.losses:
        alone = " alone" if task.kind == "train" and task.name != "pooled" else ""
        display.say(f"{task.name}{alone}: held-out loss {answer.losses[-1].all:.2f}")


def _peaks(sampled: dict[str, int], federated: Federated) -> dict[str, int]:
    """Of the processes that last; a silo's own word counts, as it misses no moment between two samples."""
    lasting = ("aggregator", "silo-", "worker-")
    peaks = {name: peak for name, peak in sampled.items() if name.startswith(lasting)}
    peaks["demo"] = peak_rss_bytes()
    for silo, status in federated.statuses.items():
        peaks[f"silo-{silo}"] = max(peaks.get(f"silo-{silo}", 0), int(status["peak_rss_bytes"]))
    return peaks
