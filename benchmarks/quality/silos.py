"""A silo in this process: the agent's own order of data, loss and training loop, on features computed before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from benchmarks.quality.material import Material
from benchmarks.quality.server import Tensors
from isthmus.federation import TrainingPlan
from silo_agent.caption_loss import mean_loss
from silo_agent.composed import module_of
from silo_agent.cursor import schedule
from silo_agent.fit import fit_schedule
from silo_agent.trainer import LocalResult, quiet


@dataclass(frozen=True, slots=True)
class SiloData:
    """One silo's pictures, as features, and their captions, as tokens.

    Attributes:
        name: Mixed into the seed.
        keys: One per picture: what a one-pass order sorts by.
        features: [n, 1, D].
        captions: Tokens of each.
    """

    name: str
    keys: tuple[str, ...]
    features: torch.Tensor
    captions: tuple[tuple[int, ...], ...]


def silo_data(material: Material, name: str, indices: Sequence[int]) -> SiloData:
    """A silo that has these pictures."""
    return SiloData(
        name,
        tuple(f"{material.items[index].caption} {material.items[index].vendor}" for index in indices),
        material.features[list(indices)],
        tuple(material.ids[index] for index in indices),
    )


def train(
    material: Material,
    silo: SiloData,
    projector: Mapping[str, torch.Tensor],
    *,
    plan: TrainingPlan,
    round_number: int,
    cursor: str = "",
    correction: Mapping[str, torch.Tensor] | None = None,
) -> LocalResult:
    """Trains for one round, as `silo_agent.composed.ComposedTrainer` does.

    Args:
        material: The frozen model.
        silo: Whose data.
        projector: The global one; unchanged.
        plan: Of the round.
        round_number: From 1.
        cursor: Of a one-pass plan.
        correction: Added to every gradient (SCAFFOLD's c - c_i): as a linear term of the loss, whose gradient it is.
    """
    module = module_of(projector)
    parameters = dict(module.named_parameters())

    def loss_of(batch: Sequence[int]) -> torch.Tensor:
        loss = caption_loss(material, silo, module, batch=batch)
        for name, values in (correction or {}).items():
            loss = loss + (values * parameters[name]).sum()
        return loss

    lengths = [len(ids) for ids in silo.captions]
    todo = schedule(silo.keys, lengths, plan, silo=silo.name, round_number=round_number, cursor=cursor)
    return fit_schedule(module, todo, loss_of, plan=plan, report=quiet)


def caption_loss(material: Material, silo: SiloData, module: torch.nn.Module, *, batch: Sequence[int]) -> torch.Tensor:
    """The loss per caption token of these samples, a scalar."""
    tokens = material.scaling.image_tokens(module, silo.features[list(batch)])
    chosen = [silo.captions[index] for index in batch]
    return mean_loss(material.model.llm.token_losses(tokens, chosen), chosen)


def full_gradient(material: Material, silo: SiloData, projector: Mapping[str, torch.Tensor]) -> Tensors:
    """The gradient of the silo's loss per caption token, over all its data, at this projector."""
    module = module_of(projector)
    total = sum(len(ids) for ids in silo.captions)
    for start in range(0, len(silo.captions), 64):
        batch = range(start, min(start + 64, len(silo.captions)))
        share = sum(len(silo.captions[index]) for index in batch) / total
        (caption_loss(material, silo, module, batch=batch) * share).backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters() if parameter.grad is not None}
