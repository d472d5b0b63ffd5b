"""Membership inference by who sees a delta: each attack scores candidates, members higher. Pure.

Every attack knows the projector that the round started from, the delta, and the frozen encoder, which is public. What
else it needs stands with it. Shapes as in `evidence`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.leakage.evidence import Gradients, Tensors, along, norms

RIDGE = 1e-2
"""Of the least squares, in mean squared norms of a picture's features."""


@dataclass(frozen=True, slots=True)
class Case:
    """One delta under attack.

    Attributes:
        features: [N, D] of the candidates, as the projector gets them.
        delta: What the aggregator sees: one silo's, or the mean of several.
        start: The candidates' losses and gradients at the projector that the round started from.
        end: At that projector plus the delta.
    """

    features: torch.Tensor
    delta: Tensors
    start: Gradients
    end: Gradients


def by_gradient(case: Case) -> torch.Tensor:
    """The cosine between the step that a candidate alone asks for at the start, and the delta. Needs its caption.

    Source: Li, Li and Ribeiro, Effective Passive Membership Inference Attacks in Federated Learning Against
        Overparameterized Models, ICLR 2023 (the cosine attack). Deviation: one round is attacked, not several.
    """
    return -along(case.start, case.features, case.delta) / norms(case.start, case.features)


def by_loss(case: Case) -> torch.Tensor:
    """How far the delta takes a candidate's loss down, in nats per caption token. Needs its caption.

    Source: Yeom et al., Privacy Risk in Machine Learning, CSF 2018 (the loss attack); Watson et al., On the
        Importance of Difficulty Calibration in Membership Inference Attacks, ICLR 2022 (a reference: here the start).
    """
    return case.start.losses - case.end.losses


def by_features(case: Case) -> torch.Tensor:
    """How much of the first layer's delta only this picture's features explain. Needs no caption and no language model.

    A step changes linear_1.weight by a sum of outer products with the features of the batch's pictures, so the delta is
    about A X, with X the features of those trained on; AdamW blurs that, as it rescales element by element. Ridge least
    squares of the delta by all candidates' features gives each its column of A, whose norm is the score.

    Source: the row space of a linear layer's gradient, e.g. Petrov et al., DAGER, arXiv 2405.15586 (there exact, for
        one step of SGD and token embeddings).
    """
    gram = case.features @ case.features.T
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    columns: torch.Tensor = torch.linalg.solve(gram + ridge, case.features @ case.delta["linear_1.weight"].T)
    found: torch.Tensor = torch.linalg.vector_norm(columns, dim=1)
    return found


ATTACKS: dict[str, Callable[[Case], torch.Tensor]] = {
    "gradient": by_gradient,
    "loss": by_loss,
    "features": by_features,
}
"""By the name of its column."""


def auc(scores: torch.Tensor, num_members: int) -> float:
    """How often a member, of which there are so many, first, scores above an other: the area under the ROC curve.

    Ties count half.
    """
    members, others = scores[:num_members, None], scores[None, num_members:]
    return ((members > others).double() + 0.5 * (members == others).double()).mean().item()
