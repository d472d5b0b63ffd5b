"""Cells of the tables: one method, split, mode and seed each. What is computed is kept, so a repeated run goes on."""

import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.quality.federate import RECIPE, Course, HeldOutLoss, Mode, Recipe, federate, federation_of, unjudged
from benchmarks.quality.material import Material, held_out
from benchmarks.quality.methods import ALONE, FEDAVG, METHODS, POOLED, Method
from benchmarks.quality.silos import silo_data
from benchmarks.quality.splits import SPLITS, Labels, Parts
from deploy.demo.judge import Judge
from deploy.demo.pictures import Picture
from isthmus.federation import TrainingPlan, plan_of_round

CANDIDATES = 20
"""Captions that the right one is told from."""

JUDGED = 2
"""Every second held-out picture is judged: measuring costs as much as training."""

RETRIEVAL_PER_TOPIC = 10
"""Held-out pictures of each topic that retrieval is measured on."""

Result = dict[str, Any]
"""What a cell's file holds beside its key: numbers, as JSON."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One course to run.

    Attributes:
        split: A name in SPLITS.
        mode: multi_pass or one_pass.
        name: Of the method.
        method: What it is; not looked up, so that a search can try others under the same name.
        seed: Of the held-out drawings, the split, the initial projector and the order of data.
        recipe: How everything trains.
    """

    split: str
    mode: Mode
    name: str
    method: Method
    seed: int
    recipe: Recipe = RECIPE

    @property
    def words(self) -> str:
        """For people and file names."""
        return f"{self.split} {self.mode} {self.name} seed {self.seed}"


def kept(key: Mapping[str, Any], words: str, *, folder: Path, compute: Callable[[], Result] | None) -> Result:
    """The result under this key: from the folder, or computed and put there; empty if nothing may compute it."""
    text = json.dumps(key, sort_keys=True)
    file = folder / f"{words.replace(' ', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    if not file.is_file():
        if compute is None:
            return {}
        started = time.process_time()
        result = compute()
        document = {"key": key, "result": {**result, "cpu_seconds": round(time.process_time() - started, 2)}}
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
        part.rename(file)
    found: Result = json.loads(file.read_text(encoding="ascii"))["result"]
    return found


def result_of(cell: Cell, material: Material, *, folder: Path, only_kept: bool = False) -> Result:
    """What the cell gives, see `computed`; empty if it was not computed before and only such are wanted."""
    key = {**dataclasses.asdict(cell), "material": material.digest}
    return kept(key, cell.words, folder=folder, compute=None if only_kept else lambda: computed(cell, material))


def computed(cell: Cell, material: Material) -> Result:
    """Runs the cell.

    Returns:
        losses: Held-out, before the first round and after each (of silos alone: after the last only, their mean).
        top1, top5: Shares; of silos alone their means.
        by_silo: Of silos alone, each one's loss.
    """
    trained, judged = held_out(material.items, cell.seed)
    parts = SPLITS[cell.split](labels_of(material), trained, seed=cell.seed)
    judge = judge_of(material, judged)
    if cell.name == ALONE:
        lone = [_course(cell, material, {name: part}) for name, part in parts.items()]
        losses = [judge.losses(course.projector).all for course in lone]
        shares = [_retrieval(judge, course, cell.seed) for course in lone]
        top1, top5 = (statistics.mean(share[place] for share in shares) for place in (0, 1))
        return {
            "losses": [statistics.mean(losses)],
            "by_silo": dict(zip(parts, losses, strict=True)),
            "top1": top1,
            "top5": top5,
        }
    if cell.name == POOLED:
        parts = {"pooled": [index for part in parts.values() for index in part]}
    course = _course(cell, material, parts, judge=lambda projector: judge.losses(projector).all)
    top1, top5 = _retrieval(judge, course, cell.seed)
    return {"losses": list(course.losses), "top1": top1, "top5": top5}


def labels_of(material: Material) -> Labels:
    """Topic and vendor of every picture."""
    return [(item.topic, item.vendor) for item in material.items]


def judge_of(material: Material, indices: list[int]) -> Judge:
    """The demo's judge, over every JUDGED-th of these pictures."""
    judged = (material.items[index] for index in indices[::JUDGED])
    pictures = [Picture(one.path, one.caption, one.topic) for one in judged]
    return Judge(material.model, _any_plan(material), pictures, cache=material.cache)


def _course(cell: Cell, material: Material, parts: Parts, *, judge: HeldOutLoss = unjudged) -> Course:
    sizes = [len(part) for part in parts.values()]
    federation = federation_of(material, cell.recipe, cell.mode, sizes=sizes, seed=cell.seed)
    silos = [silo_data(material, name, part) for name, part in parts.items()]
    return federate(material, silos, cell.method, federation=federation, judge=judge)


def _retrieval(judge: Judge, course: Course, seed: int) -> tuple[float, float]:
    found = judge.retrieval(course.projector, per_topic=RETRIEVAL_PER_TOPIC, candidates=CANDIDATES, seed=seed)
    return found.top1, found.top5


def _any_plan(material: Material) -> TrainingPlan:
    """Only its settings matter to a judge, and they are the defaults."""
    return plan_of_round(federation_of(material, RECIPE, "multi_pass", sizes=[1], seed=0), 1)


def cells_of(
    *, splits: list[str], modes: list[Mode], methods: list[str], seeds: list[int], recipe: Recipe
) -> list[Cell]:
    """Every combination; FedAvg first, since all else is compared with it."""
    ordered = sorted(methods, key=lambda name: name != FEDAVG)
    return [
        Cell(split, mode, name, METHODS[name], seed, recipe)
        for seed in seeds
        for mode in modes
        for split in splits
        for name in ordered
    ]
