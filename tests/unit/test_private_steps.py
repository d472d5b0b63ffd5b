"""DP-SGD: what one sample can do to a step is bounded, and what is drawn follows from nothing that leaves the silo."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.federation import PrivacyPolicy
from silo_agent.fit import fit
from silo_agent.private_steps import (
    gaussian,
    num_private_steps,
    private_batches,
    secret_draws,
    set_private_gradient,
)
from silo_agent.trainer import quiet
from tests.plans import plan_with

PRIVACY = PrivacyPolicy(clip_norm=1.5, noise_multiplier=2.0, epsilon=8.0, delta=1e-5)
TARGETS = torch.tensor([[9.0, 2.0], [3.0, -1.0], [0.5, 0.5], [float("nan"), 0.0]])


class Point(nn.Module):
    """Two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([0.25, -0.5]))


def silent(shape: torch.Size) -> torch.Tensor:
    """No noise."""
    return torch.zeros(shape)


def loss_at(point: Point):
    """Half the squared distance to each target, meaned over the batch."""

    def loss_of(batch: Sequence[int]) -> torch.Tensor:
        return (0.5 * (point.at - TARGETS[list(batch)]).square().sum(1)).mean()

    return loss_of


def gradient(batch: Sequence[int], *, noise=silent) -> torch.Tensor:
    """What a step with this batch takes, of four samples on average."""
    point = Point()
    set_private_gradient([point.at], batch, loss_at(point), privacy=PRIVACY, expected=4.0, noise=noise)
    assert point.at.grad is not None
    return point.at.grad


def test_each_sample_is_clipped_by_itself() -> None:
    """The step takes the sum of the samples' gradients, each scaled to clip_norm at most, over the expected number."""
    at = torch.tensor([0.25, -0.5])
    single = [at - TARGETS[index] for index in (0, 1, 2)]
    clipped = [one * min(1.0, 1.5 / one.norm().item()) for one in single]

    torch.testing.assert_close(gradient([0, 1, 2]), sum(clipped) / 4.0)
    assert clipped[2].equal(single[2])


@pytest.mark.parametrize("sample", [0, 1, 2, 3])
def test_one_sample_moves_a_step_by_the_clip_norm_at_most(sample: int) -> None:
    """With and without any one sample, also one whose gradient is not finite, the sums differ by clip_norm at most."""
    others = [index for index in (0, 1, 2) if index != sample]

    moved = (gradient([*others, sample]) - gradient(others)) * 4.0

    assert moved.norm().item() <= 1.5 * (1 + 1e-6)


def test_noise_has_the_size_that_is_accounted() -> None:
    """The noise on the sum has the standard deviation noise_multiplier x clip_norm, also where no sample was drawn."""
    draws = np.random.Generator(np.random.Philox(7))
    taken = torch.stack([gradient([], noise=gaussian(draws)) for _ in range(2000)]) * 4.0

    assert taken.std().item() == pytest.approx(3.0, rel=0.05)
    assert abs(taken.mean().item()) < 0.2


def test_every_sample_is_drawn_by_itself() -> None:
    """A step takes each sample with probability batch_size / samples, so its size varies; epochs give the steps."""
    plan = plan_with(privacy=PRIVACY, batch_size=5, local_epochs=40)
    batches = private_batches(plan, num_samples=50, draws=np.random.Generator(np.random.Philox(7)))

    assert len(batches) == num_private_steps(plan, num_samples=50) == 400
    sizes = [len(batch) for batch in batches]
    assert np.mean(sizes) == pytest.approx(5.0, abs=0.4)
    assert np.var(sizes) == pytest.approx(50 * 0.1 * 0.9, rel=0.3)
    assert all(len(set(batch)) == len(batch) for batch in batches)


def test_small_silo_takes_all() -> None:
    """Where there are fewer samples than a batch has, each step takes them all."""
    plan = plan_with(privacy=PRIVACY, batch_size=16, local_steps=3)

    assert private_batches(plan, num_samples=2, draws=secret_draws()) == [(0, 1)] * 3


def test_no_draw_follows_from_the_plan() -> None:
    """Two trainings by one plan differ: noise that its seed gives away could be subtracted."""

    def trained() -> torch.Tensor:
        point = Point()
        plan = plan_with(privacy=PRIVACY, optimizer="sgd", learning_rate=0.1)
        fit(point, [(0,), (1,)], loss_at(point), plan=plan, report=quiet)
        return point.at.detach()

    assert not torch.equal(trained(), trained())
