"""The loss of captions from a language model's logits. Pure. B captions, L tokens of the longest, V vocabulary."""

from collections.abc import Sequence

import torch
from torch.nn import functional

NO_TARGET = -100
"""Marks positions beyond a caption's end."""


def targets_of(captions: Sequence[Sequence[int]], *, device: torch.device | str = "cpu") -> torch.Tensor:
    """Token ids [B, L], padded on the right with NO_TARGET."""
    length = max(len(ids) for ids in captions)
    return torch.tensor([[*ids, *([NO_TARGET] * (length - len(ids)))] for ids in captions], device=device)


def last_positions(length: int, *, device: torch.device | str = "cpu") -> torch.Tensor:
    """The last `length` positions of a sequence, [length], for `logits_to_keep` of a model of `transformers`.

    As indices, not as a number: a number becomes a slice, whose rows do not lie side by side, and the head's one large
    product becomes a small one per sample, each with a copy of the head's weights of its own.
    """
    return torch.arange(-length, 0, device=device)


def token_losses(logits_blv: torch.Tensor, targets_bl: torch.Tensor) -> torch.Tensor:
    """Cross entropy [B, L] in nats, float32, of each token under the logits that predict it; 0 where there is none."""
    # Flattened: with the vocabulary innermost, softmax reads memory in order.
    losses = functional.cross_entropy(
        logits_blv.float().flatten(0, 1), targets_bl.flatten(), ignore_index=NO_TARGET, reduction="none"
    )
    return losses.view(targets_bl.shape)


def mean_loss(losses_bl: torch.Tensor, captions: Sequence[Sequence[int]]) -> torch.Tensor:
    """The loss per caption token of a batch, a scalar: what training minimises."""
    return losses_bl.sum() / sum(len(ids) for ids in captions)
