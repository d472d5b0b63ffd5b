"""Local training of a projector by the plan of a round. Knows optimizers and schedules; knows no model and no data."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from isthmus.errors import ConfigInvalid, DeltaNotFinite
from isthmus.federation import TrainingPlan
from silo_agent.cursor import Schedule, schedule
from silo_agent.private_steps import gaussian, private_batches, secret_draws, set_private_gradient
from silo_agent.trainer import LocalResult, Report, Step, Surroundings

Optimizers = Callable[[list[nn.Parameter], TrainingPlan], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizers] = {
    "adamw": lambda parameters, plan: torch.optim.AdamW(
        parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay
    ),
    "sgd": lambda parameters, plan: torch.optim.SGD(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay),
}
"""By the plan's name. They start anew every round: their state is not part of the federation."""


def fit(
    projector: nn.Module,
    batches: Sequence[Sequence[int]],
    loss_of: Callable[[Sequence[int]], torch.Tensor],
    *,
    plan: TrainingPlan,
    report: Report,
) -> list[float]:
    """Trains the projector in place, one optimizer step per batch.

    Args:
        projector: Its parameters are float32 and require gradients.
        batches: Indices of samples.
        loss_of: The loss per caption token of a batch, a scalar through which the projector's gradient flows.
        plan: Optimizer, learning rates, clipping, FedProx.
        report: Told after every step.

    Returns:
        The loss of each step, before the step.

    Raises:
        DeltaNotFinite: The loss is no longer a number.
        ConfigInvalid: The plan names an optimizer that is not known here.

    Source:
        Li et al. 2020, Federated Optimization in Heterogeneous Networks, eq. 2: mu / 2 * ||w - w_global||^2 is added to
        the local objective. Its gradient is added by hand, so the losses reported are those of the captions alone.
        It is clipped together with theirs.
    """
    if plan.optimizer not in OPTIMIZERS:
        raise ConfigInvalid(
            f"The federation's plan asks for the optimizer {plan.optimizer!r}; this agent knows "
            f"{', '.join(OPTIMIZERS)}. Update the agent."
        )
    parameters = [parameter for parameter in projector.parameters() if parameter.requires_grad]
    anchors = [parameter.detach().clone() for parameter in parameters] if plan.fedprox_mu else []
    optimizer = OPTIMIZERS[plan.optimizer](parameters, plan)
    step_gradient = _gradients(parameters, loss_of, plan=plan)
    losses: list[float] = []
    for number, batch in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate_of_step(plan, number, len(batches))
        optimizer.zero_grad()
        loss = step_gradient(batch, number)
        for parameter, anchor in zip(parameters, anchors, strict=bool(anchors)):
            parameter.grad = _plus_proximal(parameter, anchor, plan.fedprox_mu)
        if plan.gradient_clip_norm:
            nn.utils.clip_grad_norm_(parameters, plan.gradient_clip_norm)
        optimizer.step()
        losses.append(loss)
        report(Step(number, len(batches), losses[-1]))
    return losses


def _gradients(
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[Sequence[int]], torch.Tensor],
    *,
    plan: TrainingPlan,
) -> Callable[[Sequence[int], int], float]:
    """What gives a batch's gradient to the parameters and returns its loss; told the step's number, too."""

    def plain(batch: Sequence[int], number: int) -> float:
        loss = loss_of(batch)
        _require_finite(loss.item(), number)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    if plan.privacy is None:
        return plain
    privacy, noise = plan.privacy, gaussian(secret_draws())

    def private(batch: Sequence[int], _number: int) -> float:
        expected = float(plan.batch_size)
        return set_private_gradient(parameters, batch, loss_of, privacy=privacy, expected=expected, noise=noise)

    return private


def schedule_of(
    captions: Sequence[Sequence[int]], plan: TrainingPlan, *, around: Surroundings, round_number: int, cursor: str
) -> Schedule:
    """What a round trains on, for samples whose captions have these tokens; see `silo_agent.cursor.schedule`.

    With privacy the batches are drawn in secret, and all samples count as trained on: which were drawn is private.
    """
    if plan.privacy is not None:
        num_samples = len(captions)
        batches = private_batches(plan, num_samples=num_samples, draws=secret_draws())
        return Schedule(tuple(batches), num_samples)
    keys, lengths = [sample.key for sample in around.samples.items], [len(ids) for ids in captions]
    return schedule(keys, lengths, plan, silo=around.silo, round_number=round_number, cursor=cursor)


def fit_schedule(
    projector: nn.Module,
    todo: Schedule,
    loss_of: Callable[[Sequence[int]], torch.Tensor],
    *,
    plan: TrainingPlan,
    report: Report,
) -> LocalResult:
    """Trains the projector in place on what the schedule says, as `fit`; a schedule without batches changes nothing."""
    losses = fit(projector, todo.batches, loss_of, plan=plan, report=report)
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in projector.state_dict().items()}
    # Losses are numbers about single samples, too: under privacy they stay here.
    metrics = loss_metrics(losses) if plan.privacy is None else {}
    return LocalResult(tensors, todo.num_examples, metrics, todo.cursor)


def rate_of_step(plan: TrainingPlan, number: int, num_steps: int) -> float:
    """The learning rate of step `number` (from 1): linear from the plan's first rate to its last."""
    done = (number - 1) / (num_steps - 1) if num_steps > 1 else 0.0
    return plan.learning_rate + (plan.final_learning_rate - plan.learning_rate) * done


def loss_metrics(losses: Sequence[float]) -> dict[str, float]:
    """What leaves the silo of the losses: their mean over the round, and over its last quarter; nothing of none."""
    if not losses:
        return {}
    tail = losses[-max(1, len(losses) // 4) :]
    return {"train_loss": sum(losses) / len(losses), "train_loss_last": sum(tail) / len(tail)}


def _plus_proximal(parameter: nn.Parameter, anchor: torch.Tensor, mu: float) -> torch.Tensor:
    drift = parameter.detach() - anchor
    return drift * mu if parameter.grad is None else parameter.grad.add(drift, alpha=mu)


def _require_finite(loss: float, number: int) -> None:
    if not math.isfinite(loss):
        raise DeltaNotFinite(
            f"Local training diverged: the loss of step {number} is {loss}. Ask the operator for a smaller "
            "plan.learning_rate, or for plan.gradient_clip_norm.",
            check="loss",
            measured=loss,
        )
