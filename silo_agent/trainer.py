"""What a trainer is: the one thing that a new kind of silo implements.

Knows the contract and the names of the trainers that exist; imports none of them before it is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import torch
from pydantic import BaseModel, ValidationError

from isthmus.errors import ConfigInvalid
from isthmus.federation import Choice, TrainingPlan
from isthmus.spec import ProjectorSpec
from isthmus.tables import explain
from silo_agent.data import Samples


class Step(NamedTuple):
    """How far local training is: the step just done (from 1), of how many, and its loss per caption token, in nats."""

    number: int
    num_steps: int
    loss: float


Report = Callable[[Step], None]
"""Told after every optimizer step."""


def quiet(step: Step) -> None:
    """Reports nothing."""


Tell = Callable[[int, int], None]
"""Told samples done and in all."""


def silent(done: int, total: int) -> None:
    """Tells nothing."""


class Evaluated(NamedTuple):
    """How a projector does on held-out samples: the loss per caption token, in nats, and of how many samples."""

    loss: float
    num_samples: int


@dataclass(frozen=True, slots=True)
class LocalResult:
    """What local training gave.

    Attributes:
        tensors: The local projector: the names and shapes of the global one, float32, on the CPU.
        num_examples: Distinct samples trained on: the aggregation weight that the silo claims. 0: the plan is one-pass
            and no sample is left; nothing was trained.
        metrics: Numbers that leave the silo with the delta; finite, names match [a-z0-9_.]{1,64}.
        cursor: Where the one-pass order of the data goes on (`silo_agent.cursor`); "" when the plan is not one-pass.
    """

    tensors: dict[str, torch.Tensor]
    num_examples: int
    metrics: dict[str, float] = field(default_factory=dict)
    cursor: str = ""


class Trainer(Protocol):
    """Trains a projector on the silo's data.

    1. `require` raises SpecMismatch when a projector of the spec does not fit the silo's model, and ConfigInvalid when
       the plan has settings that the trainer does not know.
    2. `train` starts from the projector given, which it leaves unchanged, and honours every field of the plan.
    3. Equal arguments give equal results on the same machine: the seed is the plan's, mixed with silo and round. Under
       a plan with privacy nothing is equal: its draws are secret; and the result reports no loss.
    4. It keeps nothing between calls that changes a result: the cursor comes in and goes out.
    5. Everything of the model but the projector stays as it was.
    6. When a one-pass plan has no sample left, the result has num_examples 0 and the projector as it came.
    7. `evaluate` gives the loss of the projector given on held-out samples, which `train` never sees; the loss may be
       no number. None: nothing is held out. It changes nothing of what `train` gives.
    """

    def require(self, spec: ProjectorSpec, plan: TrainingPlan) -> None:
        """Checks that `train` can train a projector of this spec by this plan."""
        ...

    def evaluate(
        self, projector: Mapping[str, torch.Tensor], plan: TrainingPlan, *, tell: Tell = silent
    ) -> Evaluated | None:
        """Evaluates a pulled projector before a round is trained from it; see `silo_agent.held_out`.

        Args:
            projector: The global projector, float32, on the CPU.
            plan: What the round will train by.
            tell: Told how far it is.
        """
        ...

    def train(
        self,
        projector: Mapping[str, torch.Tensor],
        plan: TrainingPlan,
        *,
        round_number: int,
        cursor: str = "",
        report: Report = quiet,
    ) -> LocalResult:
        """Trains for one round.

        Args:
            projector: The global projector, float32, on the CPU.
            plan: How to train.
            round_number: From 1; mixed into the seed.
            cursor: `LocalResult.cursor` of this silo's last counted contribution; "" before the first.
            report: Told after every step.
        """
        ...


NONE = Samples(())
"""No samples."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every trainer gets beside its own options.

    Attributes:
        silo: Mixed into the seed, so that silos order their data differently.
        samples: The silo's picture-caption pairs that are trained on.
        cache: A folder for what can be computed again; safe to delete at any time.
        device: torch device of the models.
        max_pixels: Larger pictures are never decoded.
        held_out: Pairs that are never trained on, in the order in which they are evaluated.
        max_held_out: So many of those are evaluated at most.
    """

    silo: str
    samples: Samples
    cache: Path
    device: str = "cpu"
    max_pixels: int = 64_000_000
    held_out: Samples = NONE
    max_held_out: int = 256


class TrainerEntry(NamedTuple):
    """A trainer's options, and how it is built from them."""

    options: type[BaseModel]
    build: Callable[..., Trainer]
    """Called as build(options, surroundings)."""


Settings = TypeVar("Settings", bound=BaseModel)


def settings_of(plan: TrainingPlan, model: type[Settings]) -> Settings:
    """The plan's settings as a trainer understands them.

    Raises:
        ConfigInvalid: It does not know one of them; training without it would not be what was asked for.
    """
    try:
        return model.model_validate(plan.settings)
    except ValidationError as error:
        raise ConfigInvalid(
            f"The federation's plan.settings do not fit this silo's trainer: {explain(error)} "
            "Update the agent, choose another trainer.name, or ask the operator to correct them."
        ) from error


def _composed() -> TrainerEntry:
    from silo_agent import composed

    return TrainerEntry(composed.ComposedOptions, composed.ComposedTrainer)


def _transformers() -> TrainerEntry:
    from silo_agent import vlm

    return TrainerEntry(vlm.VlmOptions, vlm.VlmTrainer)


TRAINERS: dict[str, Callable[[], TrainerEntry]] = {
    "composed": _composed,
    "transformers": _transformers,
}
"""By the name in the configuration's [trainer]. Each import is late: transformers takes seconds to load."""


def build_trainer(choice: Choice, surroundings: Surroundings, *, folder: Path) -> Trainer:
    """The trainer of this name with these options; relative paths in them start at `folder`.

    Raises:
        ConfigInvalid: The name or an option is wrong, or a package, model file or folder is missing; names it.
    """
    if choice.name not in TRAINERS:
        raise ConfigInvalid(f"trainer.name: {choice.name!r} is no trainer; known are {', '.join(TRAINERS)}.")
    try:
        entry = TRAINERS[choice.name]()
    except ModuleNotFoundError as error:
        raise ConfigInvalid(
            f"The trainer {choice.name} needs the package {error.name}, which is not installed. "
            'Install it with: pip install ".[silo]" in a clone of Isthmus'
        ) from error
    try:
        options = entry.options.model_validate(choice.options, context={"folder": folder})
    except ValidationError as error:
        raise ConfigInvalid(f"The options of [trainer] {choice.name} are wrong: {explain(error)}") from error
    return entry.build(options, surroundings)
