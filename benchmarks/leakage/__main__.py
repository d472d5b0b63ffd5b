"""What a delta gives away: membership inference on deltas of real training, and what each mitigation buys.

    python -m benchmarks.leakage --seeds 0 1 2

Four silos of one topic each train the demo's projector on the demo's pictures. Half of each topic's concepts is trained
on (members), half is not (others); both pictures of a concept are on one side. The attacks have what an aggregator has:
the projector that the round started from and the delta, or the mean of several; and candidate pictures.

Exit code 1: something that a run needs is missing.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import logbook
from benchmarks.leakage.arms import ARMS, epsilon, planned_for
from benchmarks.leakage.attacks import ATTACKS, Case, auc
from benchmarks.leakage.evidence import Gradients, Tensors, moved
from benchmarks.leakage.silos import Silo, silos_of
from benchmarks.leakage.table import Row, table
from deploy.demo.__main__ import real_ingredients
from deploy.demo.display import Display
from deploy.demo.recipe import FEATURES, RECIPE
from deploy.demo.run import Ingredients
from isthmus.errors import IsthmusError
from isthmus.federation import TrainingPlan, parse_federation, plan_of_round
from isthmus.projectors import build_projector

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every arm over every seed, prints the table and writes the numbers."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    rows: list[Row] = []
    console = Console(highlight=False)
    try:
        with Display(console) as display:
            ingredients = real_ingredients(display)
            for seed in options.seeds:
                display.stage(f"Seed {seed}")
                for row in _attacked(ingredients, options.arms, seed=seed):
                    areas = ", ".join(f"{name} {area:.2f}" for name, area in row.aucs.items())
                    display.say(f"{row.arm}, {row.silo}: {areas}")
                    rows.append(row)
    except IsthmusError as error:
        print(f"leakage: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n", encoding="utf-8")
    told = table(rows, command=" ".join(["python -m benchmarks.leakage", *given]))
    console.print(told)
    if options.log:
        logbook.enter("What a delta gives away", told)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Attacks deltas of real training, and the mitigations' deltas.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "leakage.json")
    parser.add_argument("--log", action="store_true", help="enter the table into docs/LOG.md")
    return parser


def _attacked(ingredients: Ingredients, arms: Sequence[str], *, seed: int) -> Iterator[Row]:
    """The rows of one seed."""
    widths = (FEATURES, ingredients.models.llm_width)
    # The learning rate falls over all rounds, so their number says how much a silo learns in the one that is attacked.
    recipe = dataclasses.replace(RECIPE, rounds=4, seed=seed)
    federation = parse_federation(recipe.federation_toml(num_silos=4, widths=widths))
    assert federation.projector is not None  # the demo's federation has one
    projector = federation.projector
    start = dict(build_projector(projector.kind, projector.options, seed=seed).state_dict())
    plan = plan_of_round(federation, 1)
    with tempfile.TemporaryDirectory() as folder:
        silos = silos_of(ingredients, Path(folder), seed=seed)
        begun = [silo.gradients(start, plan) for silo in silos]
        for name in arms:
            arm, planned = ARMS[name], planned_for(ARMS[name], plan)
            deltas = [silo.delta(start, planned) for silo in silos[: max(arm.silos, arm.targets)]]
            for target in range(arm.targets):
                seen = _mean(deltas) if arm.silos > 1 else deltas[target]
                yield _row(name, silos[target], seed=seed, plan=planned, start=start, begun=begun[target], seen=seen)


def _mean(deltas: Sequence[Tensors]) -> Tensors:
    return {tensor: torch.stack([delta[tensor] for delta in deltas]).mean(0) for tensor in deltas[0]}


def _row(
    arm: str, silo: Silo, *, seed: int, plan: TrainingPlan, start: Tensors, begun: Gradients, seen: Tensors
) -> Row:
    """Every attack on one silo's members, by the delta that is seen."""
    ended = silo.gradients(moved(start, seen), plan)
    case = Case(silo.features(plan), seen, begun, ended)
    members = silo.num_members
    return Row(
        arm,
        seed,
        silo.name,
        aucs={name: auc(attack(case), members) for name, attack in ATTACKS.items()},
        epsilon=epsilon(plan, num_samples=members),
        before=begun.losses[members:].mean().item(),
        after=ended.losses[members:].mean().item(),
        trained=ended.losses[:members].mean().item(),
    )


if __name__ == "__main__":
    sys.exit(main())
