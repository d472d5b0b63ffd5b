"""What a delta gives away: membership inference on deltas of real training, and what each mitigation buys.

    .venv/bin/python -m benchmarks.leakage --seeds 0 1 2

Four silos of one topic each train the demo's projector on the demo's pictures. Half of each topic's concepts is trained
on (members), half is not (others). The attack has what an aggregator has: the projector that the round started from,
the delta, and a candidate sample. It scores the sample by the cosine between its own gradient at that projector and the
delta against it. AUC 0.5: it cannot tell members from others; 1.0: it always can.

Source of the attack: Li, Li and Ribeiro, Effective Passive Membership Inference Attacks in Federated Learning Against
Overparameterized Models, ICLR 2023 (the cosine attack). Deviation: one round is attacked, not several.

Exit code 1: something that a run needs is missing.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import logbook
from deploy.demo.__main__ import real_ingredients
from deploy.demo.display import Display
from deploy.demo.pictures import lay_out
from deploy.demo.recipe import FEATURES, RECIPE
from deploy.demo.run import Ingredients
from isthmus.errors import IsthmusError
from isthmus.federation import PrivacyPolicy, TrainingPlan, parse_federation, plan_of_round
from isthmus.projectors import build_projector
from silo_agent.caption_loss import mean_loss
from silo_agent.composed import ComposedOptions, ComposedSettings, ComposedTrainer, module_of
from silo_agent.config import DataConfig
from silo_agent.data import Samples, load_samples
from silo_agent.features import features_of
from silo_agent.privacy_budget import epsilon_of, spent_in
from silo_agent.trainer import Surroundings, settings_of

ROOT = Path(__file__).parents[1]
CONCEPTS = 32
"""Of each topic; half of them is trained on. Each gives two pictures."""
CLIP_NORM = 1.0
DELTA = 1e-3
Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """One way to train and to show what was trained.

    Attributes:
        epochs: Passes over the members.
        noise: noise_multiplier of DP-SGD; 0: plain training.
        silos: The attacker sees the mean of this many silos' deltas.
    """

    epochs: int = 1
    noise: float = 0.0
    silos: int = 1


ARMS: dict[str, Arm] = {
    "one silo, 1 epoch": Arm(),
    "one silo, 4 epochs": Arm(epochs=4),
    "mean of 2 silos, 4 epochs": Arm(epochs=4, silos=2),
    "mean of 4 silos, 4 epochs": Arm(epochs=4, silos=4),
    "DP-SGD, noise 0.3, 4 epochs": Arm(epochs=4, noise=0.3),
    "DP-SGD, noise 0.6, 4 epochs": Arm(epochs=4, noise=0.6),
    "DP-SGD, noise 1, 4 epochs": Arm(epochs=4, noise=1.0),
}


class Silo:
    """One topic's members and others, and the model that all share."""

    def __init__(self, name: str, everything: Samples, *, options: ComposedOptions, cache: Path) -> None:
        captions = sorted({sample.caption for sample in everything.items})
        trained_on = set(captions[::2])
        self.members = [one for one in everything.items if one.caption in trained_on]
        self.others = [one for one in everything.items if one.caption not in trained_on]
        self._around = Surroundings(silo=name, samples=Samples(tuple(self.members)), cache=cache)
        self.trainer = ComposedTrainer(options, self._around)
        self._cache = cache

    def delta(self, start: Tensors, plan: TrainingPlan) -> Tensors:
        """What the silo would send after one round."""
        local = self.trainer.train(start, plan, round_number=1).tensors
        return {name: local[name] - start[name] for name in start}

    def measure(self, start: Tensors, plan: TrainingPlan) -> Iterator[tuple[torch.Tensor, bool]]:
        """Each sample's own gradient at the start, flat, and whether it is a member."""
        module = module_of(start)
        for loss, is_member in self._losses(module, plan):
            gradients = torch.autograd.grad(loss, list(module.parameters()))
            yield torch.cat([gradient.flatten() for gradient in gradients]), is_member

    @torch.no_grad()
    def loss_of_others(self, projector: Tensors, plan: TrainingPlan) -> float:
        """Mean loss per caption of the samples that were not trained on."""
        losses = self._losses(module_of(projector), plan)
        return statistics.mean(loss.item() for loss, is_member in losses if not is_member)

    def _losses(self, module: torch.nn.Module, plan: TrainingPlan) -> Iterator[tuple[torch.Tensor, bool]]:
        model, settings = self.trainer.model, settings_of(plan, ComposedSettings)
        samples = [*self.members, *self.others]
        features = features_of(samples, model.source(settings), folder=self._cache, max_pixels=1 << 20)
        scaling = model.scaling(settings)
        for number, sample in enumerate(samples):
            ids = [model.llm.token_ids(sample.caption, limit=settings.max_caption_tokens)]
            tokens = scaling.image_tokens(module, features[number : number + 1])
            yield mean_loss(model.llm.token_losses(tokens, ids), ids), number < len(self.members)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every arm over every seed, prints the table and writes the numbers."""
    parser = argparse.ArgumentParser(description="Attacks deltas of real training, and the mitigations' deltas.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "leakage.json")
    parser.add_argument("--log", action="store_true", help="enter the table into docs/LOG.md")
    options = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    console = Console(highlight=False)
    try:
        with Display(console) as display:
            ingredients = real_ingredients(display)
            for seed in options.seeds:
                display.stage(f"Seed {seed}")
                with tempfile.TemporaryDirectory() as folder:
                    for row in attacked(ingredients, options.arms, folder=Path(folder), seed=seed):
                        display.say(f"{row['arm']}: AUC {row['auc']:.2f}")
                        rows.append(row)
    except IsthmusError as error:
        print(f"leakage: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    told = table(rows)
    console.print(told)
    if options.log:
        logbook.enter("What a delta gives away", told)
    return 0


def attacked(ingredients: Ingredients, arms: Sequence[str], *, folder: Path, seed: int) -> Iterator[dict[str, object]]:
    """The rows of one seed: the first topic's silo is attacked."""
    collection = lay_out(ingredients.concepts, folder, concepts_per_silo=CONCEPTS, held_out_per_topic=1, seed=seed)
    options = ComposedOptions(encoder_weights=ingredients.models.encoder_weights, llm=ingredients.models.llm)
    cache = folder / "cache"
    silos = [
        Silo(name, load_samples(DataConfig(folder=data), cache=cache), options=options, cache=cache)
        for name, data in collection.silos.items()
    ]
    for silo in silos[1:]:
        silo.trainer.model = silos[0].trainer.model
    widths = (FEATURES, ingredients.models.llm_width)
    federation = parse_federation(dataclasses.replace(RECIPE, seed=seed).federation_toml(num_silos=4, widths=widths))
    assert federation.projector is not None  # the demo's federation has one
    start: Tensors = dict(
        build_projector(federation.projector.kind, federation.projector.options, seed=seed).state_dict()
    )
    plan = plan_of_round(federation, 1)
    gradients = list(silos[0].measure(start, plan))
    for arm in arms:
        chosen = ARMS[arm]
        planned = planned_for(chosen, plan)
        deltas = [silo.delta(start, planned) for silo in silos[: chosen.silos]]
        mean = {name: torch.stack([delta[name] for delta in deltas]).mean(0) for name in start}
        yield {
            "arm": arm,
            "seed": seed,
            "auc": auc(scores(gradients, mean)),
            "epsilon": epsilon(planned, num_samples=len(silos[0].members)),
            "loss_before": silos[0].loss_of_others(start, plan),
            "loss_after": silos[0].loss_of_others({name: start[name] + deltas[0][name] for name in start}, plan),
        }


def planned_for(arm: Arm, plan: TrainingPlan) -> TrainingPlan:
    """The demo's plan with the arm's epochs and privacy."""
    if not arm.noise:
        return plan.model_copy(update={"local_epochs": arm.epochs})
    privacy = PrivacyPolicy(clip_norm=CLIP_NORM, noise_multiplier=arm.noise, epsilon=100.0, delta=DELTA)
    return plan.model_copy(update={"local_epochs": arm.epochs, "privacy": privacy})


def scores(
    gradients: Sequence[tuple[torch.Tensor, bool]], delta: Mapping[str, torch.Tensor]
) -> list[tuple[float, bool]]:
    """For each candidate the cosine between the step that it alone asks for and the delta."""
    flat = torch.cat([delta[name].flatten() for name in delta])
    return [
        (-torch.nn.functional.cosine_similarity(gradient, flat, dim=0).item(), is_member)
        for gradient, is_member in gradients
    ]


def auc(scored: Sequence[tuple[float, bool]]) -> float:
    """How often a member scores above an other: the area under the ROC curve; ties count half."""
    members = [score for score, is_member in scored if is_member]
    others = [score for score, is_member in scored if not is_member]
    wins = sum((member > other) + 0.5 * (member == other) for member in members for other in others)
    return wins / (len(members) * len(others))


def epsilon(plan: TrainingPlan, *, num_samples: int) -> float:
    """What one round by this plan spends, at DELTA; infinite without privacy."""
    if plan.privacy is None:
        return float("inf")
    return epsilon_of([spent_in(1, plan, plan.privacy, num_samples=num_samples)], delta=DELTA)


def table(rows: Sequence[dict[str, object]]) -> str:
    """Means over the seeds, with the least and the largest, as Markdown."""
    seeds = sorted({int(str(row["seed"])) for row in rows})
    lines = [
        f"`python -m benchmarks.leakage --seeds {' '.join(map(str, seeds))} --log`: the demo's encoder, language model "
        f"and pictures; a silo trains on {CONCEPTS} pictures of {CONCEPTS // 2} concepts of one topic, and "
        f"{CONCEPTS} pictures of {CONCEPTS // 2} other concepts of it are not trained on. One round from the initial "
        f"projector. AUC of the cosine attack: 0.5 tells nothing, 1 everything. Loss: of the pictures not trained on, "
        f"before and after the silo's own delta. Epsilon at delta {DELTA:g}, of the one round. {logbook.machine()}.",
        "",
        "| what the attacker sees | AUC (least..largest) | epsilon | loss before | loss after |",
        "|---|---|---|---|---|",
    ]
    for arm in dict.fromkeys(str(row["arm"]) for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        aucs, before, after, spent = (
            [float(str(row[key])) for row in mine] for key in ("auc", "loss_before", "loss_after", "epsilon")
        )
        lines.append(
            f"| {arm} | {statistics.mean(aucs):.2f} ({min(aucs):.2f}..{max(aucs):.2f}) | {spent[0]:.3g} | "
            f"{statistics.mean(before):.2f} | {statistics.mean(after):.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
