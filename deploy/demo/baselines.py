"""Training without a federation, by the federation's own plan and the silos' own trainer: the demo's yardsticks.

A silo alone passes over its data as often as it does in the federation, with the same learning rates; so does pooled
training, over all silos' data at once. Only here, and only to be compared with, is private data brought together.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from isthmus.federation import Federation, plan_of_round
from silo_agent.composed import ComposedOptions, ComposedTrainer
from silo_agent.config import DataConfig
from silo_agent.data import Samples, load_samples
from silo_agent.held_out import split
from silo_agent.trainer import Step, Surroundings

Tensors = dict[str, torch.Tensor]


def train_without_federation(
    name: str,
    data: Sequence[Path],
    *,
    held_out: float,
    options: ComposedOptions,
    federation: Federation,
    initial: Mapping[str, torch.Tensor],
    cache: Path,
    on_round: Callable[[int, Tensors], None] = lambda number, projector: None,
    on_step: Callable[[int, Step], None] = lambda number, step: None,
) -> Tensors:
    """The projector after as many rounds of local training as the federation has, nothing being averaged.

    Args:
        name: Of the silo, so that its data comes in the order that it has in the federation.
        data: The data folders trained on together.
        held_out: Share of each that its silo never trains on in the federation; nor is it trained on here.
        options: Encoder and language model.
        federation: Its plan and number of rounds.
        initial: The federation's initial projector.
        cache: Of features.
        on_round: Told the projector after each round.
        on_step: Told the round and the step just done.
    """
    found = [trained_samples(folder, held_out=held_out, cache=cache) for folder in data]
    samples = Samples(tuple(sample for one in found for sample in one.items))
    trainer = ComposedTrainer(options, Surroundings(silo=name, samples=samples, cache=cache))
    projector = dict(initial)
    for number in range(1, federation.rounds + 1):
        plan = plan_of_round(federation, number)
        projector = trainer.train(projector, plan, round_number=number, report=partial(on_step, number)).tensors
        on_round(number, projector)
    return projector


def trained_samples(data: Path, *, held_out: float, cache: Path) -> Samples:
    """What the silo with this data folder trains on: all but the share that it holds out."""
    return split(load_samples(DataConfig(folder=data), cache=cache), share=held_out).trained
