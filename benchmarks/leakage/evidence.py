"""What an attacker works out about candidate pictures from frozen, public models and a projector. Pure.

Shapes: N candidates, D features of a picture, H the projector's hidden width, E the language model's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn import functional

Tensors = Mapping[str, torch.Tensor]
LossesOf = Callable[[torch.Tensor], torch.Tensor]
"""Each candidate's loss [N] of the projector's output [N, E], differentiable."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Each candidate's own gradient of an mlp projector, as its factors.

    A picture is one image token, so a candidate's gradient of a weight is an outer product: of `inner` and the features
    for linear_1, of `outer` and `hidden` for linear_2.

    Attributes:
        losses: [N].
        inner: [N, H], of the losses by the hidden values before the activation.
        hidden: [N, H], after it.
        outer: [N, E], by the projector's output.
    """

    losses: torch.Tensor
    inner: torch.Tensor
    hidden: torch.Tensor
    outer: torch.Tensor

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """The candidates of all parts, in order."""
        columns = zip(*((part.losses, part.inner, part.hidden, part.outer) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))


def gradients_at(projector: Tensors, features_nd: torch.Tensor, losses_of: LossesOf) -> Gradients:
    """Every candidate's gradient at this projector, from one backward pass for all."""
    before = functional.linear(features_nd, projector["linear_1.weight"], projector["linear_1.bias"])
    before.requires_grad_()
    hidden = functional.gelu(before)
    output = functional.linear(hidden, projector["linear_2.weight"], projector["linear_2.bias"])
    losses = losses_of(output)
    inner, outer = torch.autograd.grad(losses.sum(), [before, output])
    return Gradients(losses.detach(), inner, hidden.detach(), outer)


def along(gradients: Gradients, features_nd: torch.Tensor, delta: Tensors) -> torch.Tensor:
    """Each candidate's inner product [N] of its gradient and the delta."""
    first = (gradients.inner @ delta["linear_1.weight"] * features_nd).sum(1) + gradients.inner @ delta["linear_1.bias"]
    second = (gradients.outer @ delta["linear_2.weight"] * gradients.hidden).sum(1)
    return first + second + gradients.outer @ delta["linear_2.bias"]


def norms(gradients: Gradients, features_nd: torch.Tensor) -> torch.Tensor:
    """Each candidate's L2 norm [N] of its gradient."""
    first = gradients.inner.square().sum(1) * (1 + features_nd.square().sum(1))
    second = gradients.outer.square().sum(1) * (1 + gradients.hidden.square().sum(1))
    return (first + second).sqrt()


def moved(projector: Tensors, delta: Tensors, *, share: float = 1.0) -> dict[str, torch.Tensor]:
    """The projector after this share of the delta."""
    return {name: projector[name] + share * delta[name] for name in projector}
