"""Which samples a round trains on, in which order and batches; and where a one-pass order goes on. Pure.

One-pass order: samples sorted by a hash of (seed, silo, sample). The cursor is the hash of the last sample used, so the
next ones are those above it. No sample comes twice even if the folder changes between rounds.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus.federation import TrainingPlan

BUCKET_BATCHES = 8
"""Batches are cut from runs of this many, sorted by caption length: little padding, still a random order."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What one round trains on.

    Attributes:
        batches: Indices of the samples of each optimizer step, in order.
        num_examples: Distinct samples among them; 0: a one-pass order has no sample left.
        cursor: Where the one-pass order goes on after these; "" when the plan is not one-pass.
    """

    batches: tuple[tuple[int, ...], ...]
    num_examples: int
    cursor: str = ""


def schedule(
    keys: Sequence[str], lengths: Sequence[int], plan: TrainingPlan, *, silo: str, round_number: int, cursor: str = ""
) -> Schedule:
    """The batches of a round.

    Args:
        keys: One stable key per sample.
        lengths: Caption tokens per sample, for the buckets.
        plan: A one-pass plan takes local_steps * batch_size samples that were never used (0 steps: all that are
            left); local_epochs does not matter then.
        silo: Mixed into the plan's seed, as is `round_number`.
        round_number: From 1.
        cursor: Where a one-pass order goes on; "" at its start.
    """
    seeds = (plan.seed, silo, round_number)
    if plan.one_pass:
        ranked = sorted((_rank(key, plan.seed, silo), index) for index, key in enumerate(keys))
        left = [(rank, index) for rank, index in ranked if rank > cursor]
        taken = left[: plan.local_steps * plan.batch_size or None]
        batches = tuple(_batches([index for _, index in taken], lengths, plan.batch_size, seed=seed_of(*seeds)))
        return Schedule(batches, len(taken), taken[-1][0] if taken else cursor)
    batches = tuple(_passes(lengths, plan, seeds))
    return Schedule(batches, len({index for batch in batches for index in batch}))


def seed_of(*parts: object) -> int:
    """A 63-bit seed from the parts, equal on every machine."""
    text = "\n".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _rank(key: str, seed: int, silo: str) -> str:
    return hashlib.sha256(f"{seed}\n{silo}\n{key}".encode()).hexdigest()


def _passes(lengths: Sequence[int], plan: TrainingPlan, seeds: tuple[object, ...]) -> Iterator[tuple[int, ...]]:
    """Whole passes over the data: as many as the plan's epochs, or until its steps are done."""
    done = epoch = 0
    while done < plan.local_steps if plan.local_steps else epoch < plan.local_epochs:
        for batch in _batches(range(len(lengths)), lengths, plan.batch_size, seed=seed_of(*seeds, epoch)):
            if plan.local_steps and done == plan.local_steps:
                return
            done += 1
            yield batch
        epoch += 1


def _batches(indices: Sequence[int], lengths: Sequence[int], size: int, *, seed: int) -> list[tuple[int, ...]]:
    """The indices once each, shuffled, in batches of similar caption length."""
    shuffle = random.Random(seed)  # nosec B311  # an order that must repeat
    order = list(indices)
    shuffle.shuffle(order)
    run = size * BUCKET_BATCHES
    order = [
        index
        for start in range(0, len(order), run)
        for index in sorted(order[start : start + run], key=lambda index: lengths[index])
    ]
    batches = [tuple(order[start : start + size]) for start in range(0, len(order), size)]
    shuffle.shuffle(batches)
    return batches
