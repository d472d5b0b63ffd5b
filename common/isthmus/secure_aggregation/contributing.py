"""A masked contribution from torch tensors: what `isthmus.contribution_of` and a push are where nothing is masked."""

from collections.abc import Callable, Mapping

import torch

from isthmus.contribution import ContributionHeader, Receipt
from isthmus.delta import difference
from isthmus.round import Round
from isthmus.secure_aggregation.session import MaskedRounds
from isthmus.tensors import Payload, checked_metrics, whole_number

Tensors = Mapping[str, torch.Tensor]


def masked_contribution(
    masked: MaskedRounds,
    round: Round,
    *,
    local: Tensors,
    base: Tensors,
    num_examples: int,
    metrics: Mapping[str, float] | None = None,
) -> tuple[ContributionHeader, Payload]:
    """The header and payload of delta = local - base under this silo's masks; waits until the key roster is fixed.

    Raises:
        RefusedDelta: As `isthmus.contribution_of`.
        AggregatorUntrusted, RoundMoved, ConfigInvalid: As `isthmus.secure_aggregation.session.MaskedRounds.mask`.
    """
    weight = whole_number(num_examples, round.max_num_examples) if round.max_num_examples > 1 else 1
    delta = {name: values.numpy() for name, values in difference(local, base, spec=round.spec).items()}
    return masked.mask(round, delta, num_examples=weight, metrics=checked_metrics(metrics or {}))


def push_masked(
    masked: MaskedRounds,
    round: Round,
    *,
    push: Callable[[ContributionHeader, Payload], Receipt],
    local: Tensors,
    base: Tensors,
    num_examples: int,
    metrics: Mapping[str, float] | None = None,
) -> Receipt:
    """Masks, pushes and, once every vector is in, reveals; the receipt. Waits for the others, through pauses.

    Raises:
        IsthmusError: As `masked_contribution` and `push`.
    """
    header, payload = masked_contribution(
        masked, round, local=local, base=base, num_examples=num_examples, metrics=metrics
    )
    masked.release(header)
    receipt = masked.through_pauses(lambda: push(header, payload))
    masked.finish(round)
    return receipt
