"""One training course, round by round: a federation of silos in this process, or one silo that is all by itself."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.quality.material import Material
from benchmarks.quality.methods import Method
from benchmarks.quality.server import Server, Tensors, flat
from benchmarks.quality.silos import SiloData, full_gradient, train
from isthmus.codec import F32
from isthmus.delta import difference
from isthmus.federation import Federation, TrainingPlan, plan_of_round
from isthmus.projectors import build_projector
from silo_agent.trainer import LocalResult

Mode = str
"""multi_pass or one_pass."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast everything trains; the same for every method.

    Attributes:
        rounds: Of a multi-pass course: each is one pass over the data.
        one_pass_rounds: Of a one-pass course: together they are one pass.
        batch_size: Captions of one optimizer step of a multi-pass course.
        one_pass_batch_size: Of a one-pass course.
        learning_rate: Of the first step; it falls as a cosine.
        hidden_features: Between the projector's layers.
    """

    rounds: int = 6
    one_pass_rounds: int = 6
    batch_size: int = 16
    one_pass_batch_size: int = 8
    learning_rate: float = 4e-3
    hidden_features: int = 96


RECIPE = Recipe()
"""Of the comparison under the nano language model."""

DEMO_RECIPE = Recipe(rounds=3, batch_size=8, learning_rate=1.2e-2, hidden_features=512)
"""Under the demo's language model: the demo's, a round less."""

HeldOutLoss = Callable[[Mapping[str, torch.Tensor]], float]
"""The held-out loss of a projector."""


def unjudged(projector: Mapping[str, torch.Tensor]) -> float:
    """Of who only wants the last projector."""
    return math.nan


@dataclass(frozen=True, slots=True)
class Sent:
    """What a round's silos have trained, before anyone tampers with it.

    Attributes:
        round_number: From 1.
        silos: Names, in roster order.
        deltas: Flat, of each.
        last_step: What the last round added to the global projector; zeros before the second.
    """

    round_number: int
    silos: tuple[str, ...]
    deltas: tuple[F32, ...]
    last_step: F32


Tamper = Callable[[Sent], Sequence[F32]]
"""What really arrives at the aggregator."""


def honest(sent: Sent) -> Sequence[F32]:
    """What was trained."""
    return sent.deltas


@dataclass(frozen=True, slots=True)
class Course:
    """What came out.

    Attributes:
        losses: Held-out, before the first round and after each.
        projector: The last.
    """

    losses: tuple[float, ...]
    projector: Tensors


def federation_of(material: Material, recipe: Recipe, mode: Mode, *, sizes: Sequence[int], seed: int) -> Federation:
    """What an operator would write for silos of these sizes."""
    one_pass = mode == "one_pass"
    rounds = recipe.one_pass_rounds if one_pass else recipe.rounds
    batch = recipe.one_pass_batch_size if one_pass else recipe.batch_size
    features, width = material.model.widths
    widths = {"in_features": features, "hidden_features": recipe.hidden_features, "out_features": width}
    return Federation.model_validate(
        {
            "name": "quality",
            "rounds": rounds,
            "participation": {"silos": {"min": len(sizes), "max": len(sizes)}},
            "projector": {"kind": "mlp", "options": widths, "seed": seed},
            "plan": {
                "batch_size": batch,
                # The largest silo is through its data just after the last round.
                "local_steps": math.ceil(max(sizes) / batch / rounds) if one_pass else 0,
                "one_pass": one_pass,
                "learning_rate": {"initial": recipe.learning_rate},
                "seed": seed,
            },
        }
    )


def initial_projector(federation: Federation) -> Tensors:
    """Projector 0."""
    asked = federation.projector
    assert asked is not None  # `federation_of` gives one
    return dict(build_projector(asked.kind, asked.options, seed=asked.seed).state_dict())


def federate(
    material: Material,
    silos: Sequence[SiloData],
    method: Method,
    *,
    federation: Federation,
    judge: HeldOutLoss = unjudged,
    tamper: Tamper = honest,
) -> Course:
    """Runs every round: each silo trains, the aggregator's arithmetic steps; a silo without data left sends nothing."""
    server = Server(initial_projector(federation), method.strategy)
    sites = Sites(material, silos, Controls(material, len(silos)) if method.control_variates else None)
    projector = server.projector
    losses, last_step = [judge(projector)], np.zeros(server.spec.num_elements, np.float32)
    for number in range(1, federation.rounds + 1):
        plan = plan_of_round(federation, number).model_copy(update={"fedprox_mu": method.fedprox_mu})
        trained = sites.train(projector, plan, round_number=number)
        if not trained:
            break
        deltas = tuple(
            flat(difference(one.tensors, projector, spec=server.spec), server.spec) for one in trained.values()
        )
        sent = Sent(number, tuple(trained), deltas, last_step)
        server.step(tamper(sent), [one.num_examples for one in trained.values()])
        before, projector = projector, server.projector
        last_step = flat(projector, server.spec) - flat(before, server.spec)
        losses.append(judge(projector))
    return Course(tuple(losses), projector)


class Sites:
    """All silos, and what each remembers from round to round.

    Args:
        material: The frozen model.
        silos: Their data.
        controls: SCAFFOLD's; None: no gradient is corrected.
    """

    def __init__(self, material: Material, silos: Sequence[SiloData], controls: "Controls | None") -> None:
        self._material, self._silos, self._controls = material, silos, controls
        self._cursors = dict.fromkeys((silo.name for silo in silos), "")

    def train(
        self, projector: Mapping[str, torch.Tensor], plan: TrainingPlan, *, round_number: int
    ) -> dict[str, LocalResult]:
        """What each silo trained, by its name; silos that have no data left are missing."""
        found: dict[str, LocalResult] = {}
        for silo in self._silos:
            trained = train(
                self._material,
                silo,
                projector,
                plan=plan,
                round_number=round_number,
                cursor=self._cursors[silo.name],
                correction=self._controls.correction(silo, projector) if self._controls else None,
            )
            self._cursors[silo.name] = trained.cursor
            if trained.num_examples:
                found[silo.name] = trained
        if self._controls:
            self._controls.advance()
        return found


class Controls:
    """SCAFFOLD's control variates.

    Source:
        Karimireddy et al., SCAFFOLD, ICML 2020, Algorithm 1 with option I: c_i is the silo's gradient over all its data
        at the global projector, c their mean; each local gradient g becomes g + c - c_i. Deviation: the local optimizer
        is the plan's AdamW, which the paper's analysis does not cover.
    """

    def __init__(self, material: Material, num_silos: int) -> None:
        self._material = material
        self._own: dict[str, Tensors] = {}
        self._next: dict[str, Tensors] = {}
        self._num_silos = num_silos

    def correction(self, silo: SiloData, projector: Mapping[str, torch.Tensor]) -> Tensors | None:
        """C - c_i for this round, and computes c_i for the next; None in the first, when all are 0."""
        self._next[silo.name] = full_gradient(self._material, silo, projector)
        if silo.name not in self._own:
            return None
        everyone = list(self._own.values())
        return {
            name: sum((own[name] for own in everyone), torch.zeros_like(values)) / self._num_silos - values
            for name, values in self._own[silo.name].items()
        }

    def advance(self) -> None:
        """The next round's control variates are those computed in this one."""
        self._own, self._next = self._next, {}
