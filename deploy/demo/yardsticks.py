"""What is measured once the federation is done: its projectors, each silo alone, pooled training, and some captions."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.crew import Progress, do_all
from deploy.demo.federate import Federated, Models, feature_cache
from deploy.demo.pictures import Collection
from deploy.demo.processes import Children
from deploy.demo.recipe import Recipe
from deploy.demo.tasks import Answer, Describe, Loss, Measure, Retrieval, Setup, Task, Train

CAPTION_TOKENS = 12
"""Longest caption that is written for the report."""


Course = tuple[Loss, ...]
"""How one way of training went: held-out loss before the first round and after each."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured.

    Attributes:
        untrained: The initial projector.
        federated: The global projectors.
        alone: Each silo without the federation, by name.
        pooled: Training on all silos' data at once.
        shown: Indices of the held-out pictures that were described.
        before: Their captions by the initial projector.
        after: Their captions by the last global projector.
        federated_retrieval: Of the last global projector.
        pooled_retrieval: Of pooled training's. A silo alone has none: it takes longer than training for it.
        peak_rss_bytes: Of the worker that used most memory.
    """

    untrained: Course
    federated: Course
    alone: dict[str, Course]
    pooled: Course
    shown: tuple[int, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    federated_retrieval: Retrieval
    pooled_retrieval: Retrieval
    peak_rss_bytes: int


def measure(
    folder: Path,
    collection: Collection,
    federated: Federated,
    *,
    models: Models,
    recipe: Recipe,
    children: Children,
    num_workers: int,
    told: Progress,
) -> Measured:
    """Trains the yardsticks and measures every projector on the held-out pictures.

    Args:
        folder: That the federation was run in; features that silos have computed there are used again.
        collection: The pictures.
        federated: What the federation left.
        models: What every silo held.
        recipe: How much is measured.
        children: Where the workers are started.
        num_workers: Processes of one thread each.
        told: About every progress.

    Raises:
        ChildFailed: A worker died, or could not do its task.
    """
    setup = Setup(
        encoder_weights=models.encoder_weights,
        llm=models.llm,
        federation=folder / "federation.toml",
        silo_held_out=recipe.silo_held_out,
        held_out=collection.held_out,
        retrieval_per_topic=recipe.retrieval_per_topic,
        candidates=recipe.candidates,
        seed=recipe.seed,
        cache=folder / "held-out-cache",
        threads=1,
    )
    shown = _shown(collection, recipe.described_per_topic)
    tasks = _tasks(folder, collection, federated, shown=shown)
    done = do_all(tasks, setup=setup, children=children, num_workers=num_workers, told=told)
    return _gather(tasks, done, shown=shown)


def _tasks(folder: Path, collection: Collection, federated: Federated, *, shown: tuple[int, ...]) -> list[Task]:
    """The longest first."""
    initial, *rounds = federated.projectors
    caches = [feature_cache(folder, silo) for silo in collection.silos]
    _share_features(caches, folder / "pooled-cache")
    pooled = tuple(collection.silos.values())
    tasks: list[Task] = [
        Train(name="pooled", data=pooled, initial=initial, cache=folder / "pooled-cache", retrieval=True)
    ]
    for (silo, data), cache in zip(collection.silos.items(), caches, strict=True):
        tasks.append(Train(name=silo, data=(data,), initial=initial, cache=cache))
    for number, projector in enumerate(federated.projectors):
        last = projector == rounds[-1]
        tasks.append(Measure(name=f"global projector {number}", projector=projector, retrieval=last))
    for projector in (initial, rounds[-1]):
        tasks.append(Describe(name="held-out", projector=projector, indices=shown, max_tokens=CAPTION_TOKENS))
    return tasks


def _gather(tasks: Sequence[Task], done: Sequence[Answer], *, shown: tuple[int, ...]) -> Measured:
    measured = [answer for task, answer in zip(tasks, done, strict=True) if isinstance(task, Measure)]
    start = measured[0].losses
    trained = {
        task.name: start + answer.losses for task, answer in zip(tasks, done, strict=True) if isinstance(task, Train)
    }
    pooled_retrieval, federated_retrieval = (answer.retrieval for answer in done if answer.retrieval)
    before, after = (answer.captions for answer in done if answer.captions)
    return Measured(
        untrained=start,
        federated=tuple(answer.losses[0] for answer in measured),
        pooled=trained.pop("pooled"),
        alone=trained,
        shown=shown,
        before=before,
        after=after,
        federated_retrieval=federated_retrieval,
        pooled_retrieval=pooled_retrieval,
        peak_rss_bytes=max(answer.peak_rss_bytes for answer in done),
    )


def _shown(collection: Collection, per_topic: int) -> tuple[int, ...]:
    """The first pictures of each topic: drawn by the seed and not by how well they are described."""
    places: dict[str, list[int]] = {}
    for index, picture in enumerate(collection.held_out):
        places.setdefault(picture.topic, []).append(index)
    return tuple(index for found in places.values() for index in found[:per_topic])


def _share_features(caches: Sequence[Path], into: Path) -> None:
    """Links the features that silos have computed into another cache: pooled training would compute the same ones."""
    for cache in caches:
        for shard in cache.glob("features-*/*.safetensors"):
            link = into / shard.parent.name / shard.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.link(shard, link)
