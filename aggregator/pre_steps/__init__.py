"""The steps before a rule, by the name that a federation's TOML calls them. A new one is one file and one entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.blocks import PreStep
from aggregator.options import Options, read_options
from aggregator.pre_steps import bucketing, nnm, norm_clip, weight_cap
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice


def _all(_options: Options, num_deltas: int) -> int:
    return num_deltas


@dataclass(frozen=True, slots=True)
class PreStepEntry:
    """How one step is chosen.

    Attributes:
        options: The type of its options; every one has a default, so that the contract tests can build it.
        build: The step with these options.
        least_silos: The fewest deltas for which the step with these options does what its name promises.
        leaves: How many deltas the step makes of so many.
        coordinate_wise: Whether each value depends on the same position of the deltas, num_examples and the seed alone.
        mixes: Whether each delta that it gives is a mean of most of those before, so that none lacks what most sent.
    """

    options: type[Options]
    build: Callable[[Any], PreStep]  # Any: each takes its own options
    least_silos: Callable[[Any], int]
    leaves: Callable[[Any, int], int] = _all
    coordinate_wise: bool = False
    mixes: bool = False


PRE_STEPS: dict[str, PreStepEntry] = {
    "norm_clip": PreStepEntry(norm_clip.NormClipOptions, norm_clip.build, norm_clip.least_silos),
    "nnm": PreStepEntry(nnm.NnmOptions, nnm.build, nnm.least_silos, mixes=True),
    "bucketing": PreStepEntry(
        bucketing.BucketingOptions, bucketing.build, bucketing.least_silos, bucketing.leaves, coordinate_wise=True
    ),
    "weight_cap": PreStepEntry(
        weight_cap.WeightCapOptions, weight_cap.build, weight_cap.least_silos, coordinate_wise=True
    ),
}


def build_pre_steps(choices: Sequence[Choice]) -> list[PreStep]:
    """The steps that a federation chose, in their order.

    Raises:
        FederationInvalid: There is no such step, or an option is wrong; says which.
    """
    options = [_options(choice, place) for place, choice in enumerate(choices)]
    return [PRE_STEPS[choice.name].build(own) for choice, own in zip(choices, options, strict=True)]


def deltas_left(choices: Sequence[Choice], *, num_silos: int) -> int:
    """How many deltas these steps leave of a round's least number of contributions.

    Raises:
        FederationInvalid: There is no such step, an option is wrong, or a step gets too few deltas to do what it
            promises; says which.
    """
    num_deltas = num_silos
    for place, choice in enumerate(choices):
        options, entry = _options(choice, place), PRE_STEPS[choice.name]
        least = entry.least_silos(options)
        if num_deltas < least:
            raise FederationInvalid(
                f"{_key(place)}: {choice.name} with these options needs {least} deltas, but of participation.silos.min "
                f"contributions ({num_silos}) it gets {num_deltas}; raise that, or change the steps or their options.",
                measured=num_deltas,
                limit=least,
            )
        num_deltas = entry.leaves(options, num_deltas)
    return num_deltas


def _options(choice: Choice, place: int) -> Options:
    return read_options(choice, _key(place), {name: entry.options for name, entry in PRE_STEPS.items()})


def _key(place: int) -> str:
    return f"strategy.pre_steps.{place}"
