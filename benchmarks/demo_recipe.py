"""How the demo's recipe was found: its own models and pictures, simulated in one process, arm by arm.

    .venv/bin/python -m benchmarks.demo_recipe --arms recipe mean --seed 100

The silos' own trainer, batches and loss, the aggregator's own arithmetic and the demo's own judge; no gRPC and no
store. Exit code 1: something that an arm needs is missing.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.quality.server import Server, Tensors, flat
from deploy.demo.__main__ import real_ingredients
from deploy.demo.baselines import trained_samples
from deploy.demo.display import Display
from deploy.demo.judge import Judge
from deploy.demo.pictures import Collection, lay_out
from deploy.demo.recipe import FEATURES, RECIPE, Recipe
from deploy.demo.run import Ingredients
from isthmus.delta import difference
from isthmus.errors import IsthmusError
from isthmus.federation import Choice, Federation, StrategyPolicy, parse_federation, plan_of_round
from isthmus.projectors import build_projector
from silo_agent.composed import ComposedModel, ComposedOptions, ComposedTrainer
from silo_agent.trainer import Surroundings

SEARCH_SEED = 100
"""No reported run uses it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """One recipe to try; the server optimizer is SGD."""

    recipe: Recipe = RECIPE
    server_learning_rate: float = 1.0
    rule: str = "fed_cmp"
    local_steps: int = 0
    """Of a round; 0: whole epochs, as the recipe says."""

    @property
    def strategy(self) -> StrategyPolicy:
        """What the aggregator is told."""
        rate = {"name": "sgd", "learning_rate": self.server_learning_rate}
        return StrategyPolicy(rule=Choice(name=self.rule), server_optimizer=Choice.model_validate(rate))


def varied(**changes: object) -> Recipe:
    """The demo's recipe with some numbers changed."""
    return dataclasses.replace(RECIPE, **changes)  # type: ignore[arg-type]  # the names are the recipe's


SMALL = varied(output_gain=0.25)

ARMS: dict[str, Arm] = {
    "recipe": Arm(),
    "server-lr-1.5": Arm(server_learning_rate=1.5),
    "four-rounds": Arm(varied(rounds=4)),
    "eight-rounds": Arm(varied(rounds=8)),
    "mean": Arm(rule="mean"),
    "mean-server-lr-1.5": Arm(rule="mean", server_learning_rate=1.5),
    "mean-server-lr-2": Arm(rule="mean", server_learning_rate=2.0),
    "mean-gain-2": Arm(varied(output_gain=2.0), rule="mean"),
    "mean-gain-0.25": Arm(SMALL, rule="mean"),
    "mean-gain-0.25-server-lr-2": Arm(SMALL, rule="mean", server_learning_rate=2.0),
    "mean-gain-0.25-lr-8e-3": Arm(varied(output_gain=0.25, learning_rate=8e-3), rule="mean"),
    "mean-gain-0.25-eight-rounds": Arm(varied(output_gain=0.25, rounds=8), rule="mean", local_steps=4),
    "mean-gain-0.25-eight-rounds-server-lr-1.5": Arm(
        varied(output_gain=0.25, rounds=8), rule="mean", server_learning_rate=1.5, local_steps=4
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the arms and prints held-out loss by round, and retrieval at the end."""
    parser = argparse.ArgumentParser(description="Tries recipes for the demo.")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seed", type=int, default=SEARCH_SEED)
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    table = Table("arm", "loss after each round", "top-1", "top-5", box=None)
    try:
        with Display(console) as display:
            ingredients = real_ingredients(display)
            for name in options.arms:
                display.stage(f"Arm {name}")
                with tempfile.TemporaryDirectory() as folder:
                    table.add_row(name, *_measured(ARMS[name], ingredients, Path(folder), seed=options.seed))
    except IsthmusError as error:
        print(f"demo_recipe: {error}", file=sys.stderr)
        return 1
    console.print(table)
    return 0


def simulate(
    arm: Arm, federation: Federation, collection: Collection, *, options: ComposedOptions, cache: Path
) -> Iterator[Tensors]:
    """The global projectors: the initial one, then one per round."""
    initial = federation.projector
    assert initial is not None  # the demo's federation has one
    projector: Tensors = dict(build_projector(initial.kind, initial.options, seed=initial.seed).state_dict())
    trainers = [
        ComposedTrainer(
            options,
            Surroundings(
                silo=silo,
                samples=trained_samples(data, held_out=arm.recipe.silo_held_out, cache=cache),
                cache=cache,
            ),
        )
        for silo, data in collection.silos.items()
    ]
    server = Server(projector, arm.strategy)
    yield projector
    for number in range(1, federation.rounds + 1):
        plan = plan_of_round(federation, number)
        trained = [trainer.train(projector, plan, round_number=number) for trainer in trainers]
        deltas = [flat(difference(one.tensors, projector, spec=server.spec), server.spec) for one in trained]
        server.step(deltas, [one.num_examples for one in trained])
        projector = server.projector
        yield projector


def _measured(arm: Arm, ingredients: Ingredients, folder: Path, *, seed: int) -> tuple[str, str, str]:
    recipe = dataclasses.replace(arm.recipe, seed=seed)
    collection = lay_out(
        ingredients.concepts,
        folder,
        concepts_per_silo=recipe.concepts_per_silo,
        held_out_per_topic=recipe.held_out_per_topic,
        seed=seed,
    )
    federation = _federation(arm, recipe, num_silos=len(collection.silos), llm_width=ingredients.models.llm_width)
    options = ComposedOptions(encoder_weights=ingredients.models.encoder_weights, llm=ingredients.models.llm)
    model = ComposedModel(options, cache=folder / "cache")
    judge = Judge(model, plan_of_round(federation, 1), collection.held_out, cache=folder / "cache")
    losses, last = [], {}
    for last in simulate(arm, federation, collection, options=options, cache=folder / "cache"):
        losses.append(f"{judge.losses(last).all:.2f}")
    found = judge.retrieval(last, per_topic=recipe.retrieval_per_topic, candidates=recipe.candidates, seed=seed)
    return ", ".join(losses), f"{found.top1:.0%}", f"{found.top5:.0%}"


def _federation(arm: Arm, recipe: Recipe, *, num_silos: int, llm_width: int) -> Federation:
    found = parse_federation(recipe.federation_toml(num_silos=num_silos, widths=(FEATURES, llm_width)))
    return found.model_copy(update={"plan": found.plan.model_copy(update={"local_steps": arm.local_steps})})


if __name__ == "__main__":
    sys.exit(main())
