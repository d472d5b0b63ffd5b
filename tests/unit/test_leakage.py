"""The attacks of benchmarks/leakage find members where there is something to find, and their arithmetic is right."""

import math

import pytest
import torch
from torch import nn

from benchmarks.leakage.attacks import ATTACKS, Case, auc
from benchmarks.leakage.evidence import along, gradients_at, moved, norms
from benchmarks.leakage.table import standard_error
from isthmus.projectors import build_projector

NUM_MEMBERS = 8
WIDTHS = {"in_features": 64, "hidden_features": 12, "out_features": 6}


def data(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of 16 candidates, the first 8 of them members, and what their outputs should be."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(16, WIDTHS["in_features"], generator=draw), torch.randn(16, 6, generator=draw)


def trained(features: torch.Tensor, wanted: torch.Tensor, *, optimizer: str) -> Case:
    """The case of a delta from a few steps on the members."""
    module = build_projector("mlp", WIDTHS, seed=1)
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    steps: torch.optim.Optimizer = (
        torch.optim.SGD(module.parameters(), lr=0.05)
        if optimizer == "sgd"
        else torch.optim.AdamW(module.parameters(), lr=0.01)
    )
    for _ in range(10):
        steps.zero_grad()
        loss = nn.functional.mse_loss(module(features[:NUM_MEMBERS]), wanted[:NUM_MEMBERS])
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        steps.step()
    delta = {name: tensor.detach() - start[name] for name, tensor in module.state_dict().items()}

    def losses_of(output: torch.Tensor) -> torch.Tensor:
        return (output - wanted).square().mean(1)

    return Case(
        features,
        delta,
        gradients_at(start, features, losses_of),
        gradients_at(moved(start, delta), features, losses_of),
    )


def test_factors_give_what_autograd_gives() -> None:
    """A candidate's inner product with a delta, and its gradient's norm, are those of its whole gradient."""
    features, wanted = data(0)
    module = build_projector("mlp", WIDTHS, seed=1)
    draw = torch.Generator().manual_seed(2)
    delta = {name: torch.randn(tensor.shape, generator=draw) for name, tensor in module.state_dict().items()}
    gradients = gradients_at(module.state_dict(), features, lambda output: (output - wanted).square().mean(1))

    for number in range(len(features)):
        loss = (module(features[number]) - wanted[number]).square().mean()
        whole = torch.autograd.grad(loss, list(module.parameters()))
        inner = sum((gradient * tensor).sum().item() for gradient, tensor in zip(whole, delta.values(), strict=True))
        norm = math.sqrt(sum(gradient.square().sum().item() for gradient in whole))

        assert along(gradients, features, delta)[number].item() == pytest.approx(inner, rel=1e-4, abs=1e-5)
        assert norms(gradients, features)[number].item() == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_attack_finds_the_members_of_a_tiny_silo(attack: str, optimizer: str) -> None:
    """Of eight pictures trained on alone, and eight that were not, every attack ranks nearly all rightly."""
    case = trained(*data(3), optimizer=optimizer)

    assert auc(ATTACKS[attack](case), NUM_MEMBERS) > 0.9


def test_an_area_counts_pairs_in_the_right_order() -> None:
    """Two members against two others: three pairs of four in order are 0.75, and a tie is half a pair."""
    assert auc(torch.tensor([3.0, 1.0, 2.0, 0.0]), 2) == 0.75
    assert auc(torch.tensor([1.0, 1.0]), 1) == 0.5


def test_the_standard_error_is_that_of_hanley_and_mcneil() -> None:
    """At chance it is close to sqrt(1 / 12 (1 / m + 1 / n)), that of ranks; at a perfect area it is none."""
    assert standard_error(0.5, members=64, others=64) == pytest.approx(math.sqrt(2 / 64 / 12), rel=0.01)
    assert standard_error(1.0, members=64, others=64) == 0.0
