"""The silo's held-out share: which samples are never trained on, and the loss of a pulled projector on them.

A picture is held out where the SHA-256 of a fixed text and the picture's own digest, read as a fraction, lies below the
share. So all captions of a picture are on one side, a restart and data that were added change nothing for those there
before, and the same picture at two silos of one share is trained on at neither.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from isthmus.errors import ConfigInvalid
from isthmus.federation import TrainingPlan
from silo_agent.data import Sample, Samples
from silo_agent.trainer import Evaluated, Surroundings, Tell

_TEXT = "isthmus held-out"

SHARE_OF_ROUND = 8
"""One sample is evaluated for at least so many trained on: under a tenth of a round's work (docs/LOG.md)."""


class Parts(NamedTuple):
    """A silo's samples: what is trained on, in its order, and what is held out, in the order of its hashes."""

    trained: Samples
    held_out: Samples


def split(samples: Samples, *, share: float) -> Parts:
    """Splits the silo's samples.

    A greater share holds out what a smaller one did, and more: those samples may have been trained on before.

    Args:
        samples: All of the silo's.
        share: From 0, nothing, to 0.5; what is held out comes to about so much, not exactly.

    Raises:
        ConfigInvalid: Nothing would be left to train on.
    """
    ranks = [_rank(sample) for sample in samples.items]
    kept = tuple(sample for sample, rank in zip(samples.items, ranks, strict=True) if rank >= share)
    out = [(rank, sample.key, sample) for sample, rank in zip(samples.items, ranks, strict=True) if rank < share]
    held_out = tuple(sample for _, _, sample in sorted(out, key=lambda one: one[:2]))
    if not kept:
        raise ConfigInvalid(
            f"data.held_out = {share:g} holds all {len(held_out)} samples out, so none is left to train on. Lower it, "
            "or add data."
        )
    return Parts(replace(samples, items=kept), Samples(held_out))


def to_evaluate(around: Surroundings, plan: TrainingPlan) -> tuple[Sample, ...]:
    """The held-out samples that a round evaluates: those of the lowest hashes, the same ones round after round.

    At most `max_held_out`, and one for every `SHARE_OF_ROUND` samples that the plan trains on.
    """
    trained = plan.local_steps * plan.batch_size or len(around.samples.items) * plan.local_epochs
    return around.held_out.items[: max(1, min(around.max_held_out, trained // SHARE_OF_ROUND))]


def evaluate(
    captions: Sequence[Sequence[int]], losses_of: Callable[[Sequence[int]], float], *, batch_size: int, tell: Tell
) -> Evaluated:
    """The loss per caption token over samples.

    Args:
        captions: Tokens of each; at least one sample.
        losses_of: The sum over all caption tokens of a batch of samples, given by index.
        batch_size: Samples at once.
        tell: Told samples done and in all after each batch.
    """
    total = 0.0
    for start in range(0, len(captions), batch_size):
        batch = range(start, min(start + batch_size, len(captions)))
        total += losses_of(batch)
        tell(batch.stop, len(captions))
    return Evaluated(total / sum(map(len, captions)), len(captions))


def _rank(sample: Sample) -> float:
    """A fraction in [0, 1): to 53 bits, which a float holds."""
    digest = hashlib.sha256(f"{_TEXT}\n{sample.picture_digest}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
