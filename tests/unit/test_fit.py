"""Local training: every field of the plan does what the protocol says, compared with arithmetic done by hand."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from isthmus.errors import ConfigInvalid, DeltaNotFinite
from silo_agent.fit import fit, loss_metrics, rate_of_step
from silo_agent.trainer import Step, quiet
from tests.plans import plan_with

TARGETS = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])


class Point(nn.Module):
    """Two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([10.0, -10.0]))


def trained(**changes: object) -> torch.Tensor:
    """Where the point ends after three steps, each half the squared distance to one target."""
    point = Point()

    def loss_of(batch: Sequence[int]) -> torch.Tensor:
        return 0.5 * (point.at - TARGETS[batch[0]]).square().sum()

    plan = plan_with(**{"optimizer": "sgd", "gradient_clip_norm": 0.0, **changes})
    fit(point, [(0,), (1,), (2,)], loss_of, plan=plan, report=quiet)
    return point.at.detach()


def by_hand(*, rates: tuple[float, float, float], decay: float = 0.0, clip: float = 0.0, mu: float = 0.0):
    """The same by hand."""
    start = at = torch.tensor([10.0, -10.0])
    for rate, target in zip(rates, TARGETS, strict=True):
        gradient = at - target + mu * (at - start)
        if clip:
            gradient = gradient * min(1.0, clip / (gradient.norm().item() + 1e-6))
        at = at - rate * (gradient + decay * at)
    return at


def test_rate_moves_linearly_within_the_round() -> None:
    """The first step has the plan's first rate, the last its last, those between lie on a line."""
    plan = plan_with(learning_rate=0.3, final_learning_rate=0.1)

    assert [rate_of_step(plan, number, 3) for number in (1, 2, 3)] == pytest.approx([0.3, 0.2, 0.1])
    assert rate_of_step(plan, 1, 1) == 0.3
    torch.testing.assert_close(trained(learning_rate=0.3, final_learning_rate=0.1), by_hand(rates=(0.3, 0.2, 0.1)))


def test_weight_decay_of_sgd_is_l2() -> None:
    """Weight decay adds decay times the weights to the gradient."""
    moved = trained(learning_rate=0.1, final_learning_rate=0.1, weight_decay=0.5)

    torch.testing.assert_close(moved, by_hand(rates=(0.1, 0.1, 0.1), decay=0.5))


def test_gradients_are_clipped_by_their_norm() -> None:
    """A gradient longer than the limit is scaled to it; 0 means no limit."""
    moved = trained(learning_rate=0.1, final_learning_rate=0.1, gradient_clip_norm=2.0)

    torch.testing.assert_close(moved, by_hand(rates=(0.1, 0.1, 0.1), clip=2.0))


def test_fedprox_pulls_to_the_global_projector() -> None:
    """FedProx adds mu times the distance from the start to the gradient, before clipping."""
    plain = trained(learning_rate=0.1, final_learning_rate=0.1, fedprox_mu=2.0)
    clipped = trained(learning_rate=0.1, final_learning_rate=0.1, fedprox_mu=2.0, gradient_clip_norm=1.0)

    torch.testing.assert_close(plain, by_hand(rates=(0.1, 0.1, 0.1), mu=2.0))
    torch.testing.assert_close(clipped, by_hand(rates=(0.1, 0.1, 0.1), mu=2.0, clip=1.0))


def test_adamw_decays_apart_from_the_gradient() -> None:
    """The optimizer adamw is torch's AdamW: with no gradient it still shrinks the weights by rate times decay."""
    point = Point()

    plan = plan_with(learning_rate=0.1, final_learning_rate=0.1, weight_decay=0.5)
    fit(point, [(0,)], lambda batch: (point.at * 0.0).sum(), plan=plan, report=quiet)

    torch.testing.assert_close(point.at.detach(), torch.tensor([9.5, -9.5]))


def test_divergence_is_told_with_what_to_do() -> None:
    """A loss that is no longer a number ends the training before it spoils the delta."""
    point = Point()

    with pytest.raises(DeltaNotFinite, match=r"the loss of step 1 is nan\. Ask the operator for a smaller"):
        fit(point, [(0,)], lambda batch: point.at.sum() * float("nan"), plan=plan_with(), report=quiet)


def test_unknown_optimizer_is_refused() -> None:
    """A plan from a newer aggregator that names an unknown optimizer is refused, not replaced by another."""
    with pytest.raises(ConfigInvalid, match="asks for the optimizer 'lion'"):
        fit(Point(), [], lambda batch: torch.zeros(()), plan=plan_with(optimizer="lion"), report=quiet)


def test_every_step_is_reported() -> None:
    """The report hears each step with its loss, and the losses come back in order."""
    point, heard = Point(), list[Step]()

    losses = fit(point, [(0,), (1,)], lambda batch: point.at.sum() * 0 + 2, plan=plan_with(), report=heard.append)

    assert losses == [2.0, 2.0]
    assert heard == [Step(1, 2, 2.0), Step(2, 2, 2.0)]


def test_metrics_sum_the_losses_up() -> None:
    """What leaves the silo is the mean loss of the round and of its last quarter; of no step, nothing."""
    assert loss_metrics([4.0, 3.0, 2.0, 1.0]) == {"train_loss": 2.5, "train_loss_last": 1.0}
    assert loss_metrics([]) == {}
