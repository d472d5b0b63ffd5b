"""Federations with hostile silos: one attack, one rule, one number of hostile silos each."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aggregator.options import Options
from aggregator.pre_steps import PRE_STEPS
from aggregator.rules import RULES
from benchmarks.quality.attacks import ATTACKS, Knowledge
from benchmarks.quality.cells import CANDIDATES, Result, judge_of, kept, labels_of
from benchmarks.quality.federate import Recipe, Sent, Tamper, federate, federation_of, initial_projector
from benchmarks.quality.material import Item, Material, held_out
from benchmarks.quality.methods import Method
from benchmarks.quality.poison import flipped, stickered, stickered_features
from benchmarks.quality.silos import SiloData, silo_data
from benchmarks.quality.splits import dirichlet
from isthmus.codec import F32
from silo_agent.composed import module_of

NUM_SILOS = 10

ALPHA = 1.0
"""Of the Dirichlet split: silos differ, but none has one topic only."""

ASSUMED = 0.3
"""Share of hostile silos that rules are told to expect, whatever the real one is."""

TARGET = 300
"""Whose caption the backdoor calls for: this picture's. Few pictures call for it where nobody attacks."""

BACKDOOR_PICTURES = 120
"""Held-out pictures that get the sticker to measure whether it works."""

BACKDOOR_MEASURED = ("none", "backdoor")
"""Attacks under which it is measured whether the sticker works."""

RECIPE = Recipe(rounds=4)


def defences() -> dict[str, Method]:
    """What is attacked: every rule of the registry, told to expect ASSUMED, and pre-steps before some."""
    found = {name: Method(name, rule=_expecting(name, RULES[name].options)) for name in RULES}
    if "nnm" in PRE_STEPS:
        mix = _expecting("nnm", PRE_STEPS["nnm"].options)
        for rule in ("median", "geometric_median"):
            found[f"nnm+{rule}"] = Method(f"nnm, {rule}", rule=found[rule].rule, pre_steps=(mix,))
    if "bucketing" in PRE_STEPS:
        found["bucketing+median"] = Method(
            "bucketing, median", rule={"name": "median"}, pre_steps=({"name": "bucketing"},)
        )
    if "norm_clip" in PRE_STEPS:
        found["norm_clip+mean"] = Method("norm_clip, mean", pre_steps=({"name": "norm_clip"},))
    return found


def _expecting(name: str, options: type[Options]) -> dict[str, Any]:
    """A choice with ASSUMED as its share of hostile silos, where it has such an option."""
    known = [key for key in ("hostile_fraction", "trim_fraction") if key in options.model_fields]
    return {"name": name, **dict.fromkeys(known, ASSUMED)}


@dataclasses.dataclass(frozen=True, slots=True)
class Siege:
    """One cell of the table; `attack` is "none" when `num_hostile` is 0."""

    defence: str
    method: Method
    attack: str
    num_hostile: int
    seed: int
    recipe: Recipe = RECIPE

    @property
    def words(self) -> str:
        """For people and file names."""
        return f"siege {self.defence} {self.attack} {self.num_hostile} seed {self.seed}"


def sieges_of(
    *, defences: dict[str, Method], attacks: Sequence[str], hostile: Sequence[int], seeds: Sequence[int]
) -> list[Siege]:
    """Every combination; without hostile silos no attack differs from another."""
    return [
        Siege(name, method, attack, number, seed)
        for seed in seeds
        for name, method in defences.items()
        for number in hostile
        for attack in (attacks if number else ["none"])
    ]


def siege_result(siege: Siege, material: Material, *, folder: Path, only_kept: bool = False) -> Result:
    """What the cell gives: `losses`, untrained and last; without attack and under the backdoor `hits`: see `hits`."""
    key = {
        **dataclasses.asdict(siege),
        "material": material.digest,
        "num_silos": NUM_SILOS,
        "alpha": ALPHA,
        "candidates": CANDIDATES,
    }
    if siege.attack in BACKDOOR_MEASURED:
        key["target"] = TARGET
    return kept(key, siege.words, folder=folder, compute=None if only_kept else lambda: besieged(siege, material))


def besieged(siege: Siege, material: Material) -> Result:
    """Runs the federation. The first `num_hostile` silos in roster order are hostile."""
    trained, judged = held_out(material.items, siege.seed)
    parts = dirichlet(labels_of(material), trained, seed=siege.seed, num_silos=NUM_SILOS, alpha=ALPHA)
    hostile = list(parts)[: siege.num_hostile]
    silos = [
        _poisoned(siege, material, silo_data(material, name, part), items=[material.items[index] for index in part])
        if name in hostile
        else silo_data(material, name, part)
        for name, part in parts.items()
    ]
    federation = federation_of(
        material, siege.recipe, "multi_pass", sizes=[len(p) for p in parts.values()], seed=siege.seed
    )
    judge = judge_of(material, judged)
    course = federate(
        material,
        silos,
        siege.method,
        federation=federation,
        tamper=tampering(siege, hostile),
    )
    losses = [judge.losses(projector).all for projector in (initial_projector(federation), course.projector)]
    result: Result = {"losses": losses}
    if siege.attack in BACKDOOR_MEASURED:
        asked = judged[:: max(1, len(judged) // BACKDOOR_PICTURES)]
        result["hits"] = hits(material, course.projector, asked, seed=siege.seed)
    return result


def tampering(siege: Siege, hostile: Sequence[str]) -> Tamper:
    """Puts what the attack sends in the place of what the hostile silos trained."""

    def tamper(sent: Sent) -> Sequence[F32]:
        if not hostile:
            return sent.deltas
        honest = np.stack([delta for name, delta in zip(sent.silos, sent.deltas, strict=True) if name not in hostile])

        def arriving(place: int) -> F32:
            stream = np.random.default_rng([siege.seed, sent.round_number, place])
            knows = Knowledge(sent.deltas[place], honest, len(sent.silos), len(hostile), sent.last_step, stream)
            return ATTACKS[siege.attack].sends(knows)

        return [arriving(k) if name in hostile else sent.deltas[k] for k, name in enumerate(sent.silos)]

    return tamper


def _poisoned(siege: Siege, material: Material, silo: SiloData, *, items: Sequence[Item]) -> SiloData:
    poisons: dict[str, Callable[[], SiloData]] = {
        "own": lambda: silo,
        "flipped": lambda: flipped(silo),
        "stickered": lambda: stickered(material, silo, items, target=target_of(material)),
    }
    return poisons[ATTACKS[siege.attack].data]()


def target_of(material: Material) -> tuple[int, ...]:
    """The tokens of the caption that the backdoor calls for; of few pictures, as in tests, another one's."""
    return material.ids[TARGET % len(material.ids)]


@torch.no_grad()
def hits(
    material: Material, projector: dict[str, torch.Tensor], indices: Sequence[int], *, seed: int
) -> tuple[float, float]:
    """Shares of pictures whose likeliest caption, of the target's and 19 others, is the target's.

    Returns:
        With the sticker, and without. One in CANDIDATES is chance; where both rise the attack made the caption common.
    """
    target = target_of(material)
    asked = [index for index in indices if material.ids[index] != target]
    wrong = sorted({ids for ids in material.ids if ids != target})
    offered = [target, *random.Random(f"backdoor {seed}").sample(wrong, CANDIDATES - 1)]
    module = module_of(projector)
    seen = (stickered_features(material, [material.items[index] for index in asked]), material.features[asked])

    def share(features: torch.Tensor) -> float:
        tokens = material.scaling.image_tokens(module, features)
        losses = [material.model.llm.token_losses(tokens, [caption] * len(tokens)).sum(dim=1) for caption in offered]
        return float((torch.stack(losses).argmin(dim=0) == 0).float().mean())

    with_sticker, without = (share(features) for features in seen)
    return with_sticker, without
