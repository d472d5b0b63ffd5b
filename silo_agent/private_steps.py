"""DP-SGD: each sample's gradient clipped, Gaussian noise added to their sum. Knows no model and no budget.

Neither which samples a step takes nor the noise follows from anything that leaves the silo: a plan's seed is known to
the aggregator, and whoever knows the draws can subtract them.
"""

import math
import secrets
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from isthmus.federation import PrivacyPolicy, TrainingPlan

Noise = Callable[[torch.Size], torch.Tensor]
"""Standard normal numbers of this shape, float32, on the CPU."""


def num_private_steps(plan: TrainingPlan, *, num_samples: int) -> int:
    """Optimizer steps of a round: the plan's, or as many as its epochs' batches."""
    return plan.local_steps or plan.local_epochs * math.ceil(num_samples / plan.batch_size)


def sampling_rate(plan: TrainingPlan, *, num_samples: int) -> float:
    """The probability with which a step takes each sample: batch_size of them on average, all where there are fewer."""
    return min(1.0, plan.batch_size / num_samples)


def private_batches(plan: TrainingPlan, *, num_samples: int, draws: np.random.Generator) -> list[tuple[int, ...]]:
    """The samples of each step, by Poisson sampling: each sample by itself. A step may take none.

    Source:
        Abadi et al., Deep Learning with Differential Privacy, CCS 2016, Algorithm 1 ("lots").
    """
    rate = sampling_rate(plan, num_samples=num_samples)
    steps = num_private_steps(plan, num_samples=num_samples)
    return [tuple(np.flatnonzero(draws.random(num_samples) < rate).tolist()) for _ in range(steps)]


def set_private_gradient(
    parameters: Sequence[nn.Parameter],
    batch: Sequence[int],
    loss_of: Callable[[Sequence[int]], torch.Tensor],
    *,
    privacy: PrivacyPolicy,
    expected: float,
    noise: Noise,
) -> float:
    """Gives every parameter the noised mean of the clipped gradients of a batch's samples; returns their mean loss.

    One sample at a time: no more memory than plain training takes, for any model.

    Args:
        parameters: Those that are trained, float32.
        batch: Indices of samples; may be empty.
        loss_of: The loss of the samples with these indices; called with one index at a time.
        privacy: clip_norm and noise_multiplier.
        expected: Samples of a batch on average; divides the sum, since the number that was drawn is private.
        noise: Where the noise comes from.

    Source:
        Abadi et al. 2016, Algorithm 1. Deviation: a caption's loss is the mean over its own tokens, where plain
        training divides by the tokens of the whole batch, which would let one sample change the others' gradients.
    """
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    total = 0.0
    for index in batch:
        loss = loss_of([index])
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
        # Not finite: nothing of the sample is taken. To fail instead would tell that this very sample is there.
        scale = min(1.0, privacy.clip_norm / norm) if norm > 0.0 else 1.0
        if math.isfinite(norm):
            for total_gradient, gradient in zip(sums, gradients, strict=True):
                total_gradient.add_(gradient, alpha=scale)
            total += loss.item()
    deviation = privacy.clip_norm * privacy.noise_multiplier
    for parameter, total_gradient in zip(parameters, sums, strict=True):
        noised = total_gradient + deviation * noise(parameter.shape).to(parameter.device)
        parameter.grad = noised / expected
    return total / max(len(batch), 1)


def secret_draws() -> np.random.Generator:
    """Random numbers from a seed of 256 bits by the operating system, which nobody learns."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(secrets.randbits(256))))


def gaussian(draws: np.random.Generator) -> Noise:
    """Noise from these draws."""
    return lambda shape: torch.from_numpy(draws.standard_normal(tuple(shape), dtype=np.float32))
