"""Server optimizers: what the combined delta does to the projector. Elementwise float32, so no block size matters.

A delta is local - global, so the projector moves along it, where papers that write gradients subtract. In the formulas
x is the projector, d the combined delta, lr the learning rate; arithmetic is float32, in the order written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from aggregator.options import Options, read_options
from isthmus.codec import F32
from isthmus.federation import Choice

State = dict[str, F32]
"""One float32 [block] for each of a server optimizer's slots."""


@dataclass(frozen=True, slots=True)
class ServerOptimizer:
    """One server optimizer with its options.

    1. `apply` changes none of its arguments and gives new float32 arrays of the same length.
    2. The state it gives has exactly the slots of the state it takes.
    3. It is elementwise: each value depends on the same position of its arguments alone, and on nothing else.
    4. A delta of zeros, from the first state on, leaves the projector as it is.

    Attributes:
        slots: What it remembers between rounds: each slot's name, and the value that all of it has before the first
            step. A slot has a value for each of the projector's.
        apply: (projector, combined delta, state) to (next projector, next state), each float32 [block].
    """

    slots: dict[str, float]
    apply: Callable[[F32, F32, State], tuple[F32, State]]


class SgdOptions(Options):
    """How far the projector goes along the combined delta."""

    learning_rate: float = Field(default=1.0, gt=0.0, le=100.0)
    """1 with the rule "mean" is FedAvg."""


class MomentumOptions(Options):
    """Options of heavy-ball momentum."""

    learning_rate: float = Field(default=1.0, gt=0.0, le=100.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Share of the last round's velocity that is kept."""


class NesterovOptions(MomentumOptions):
    """Options of Nesterov momentum; the defaults are DiLoCo's."""

    learning_rate: float = Field(default=0.7, gt=0.0, le=100.0)


class AdagradOptions(Options):
    """Options of FedAdagrad; the paper's own experiments use beta1 = 0."""

    learning_rate: float = Field(default=0.01, gt=0.0, le=100.0)
    beta1: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the first moment that is kept from round to round."""
    tau: float = Field(default=1e-3, ge=1e-9, le=1e3)
    """Degree of adaptivity: the smaller, the more each coordinate goes at its own rate."""


class AdamOptions(AdagradOptions):
    """Options of FedAdam and FedYogi."""

    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Share of the second moment that is kept from round to round."""


def sgd(options: SgdOptions) -> ServerOptimizer:
    """Plain step: x + lr d.

    Source:
        Reddi et al., Adaptive Federated Optimization, ICLR 2021, Algorithm 1 with ServerOpt = SGD; at lr = 1 the
        FedAvg of McMahan et al., AISTATS 2017.
    """
    rate = np.float32(options.learning_rate)

    def apply(projector: F32, delta: F32, _state: State) -> tuple[F32, State]:
        return projector + delta * rate, {}

    return ServerOptimizer({}, apply)


def momentum(options: MomentumOptions) -> ServerOptimizer:
    """Heavy-ball momentum: v = beta v + d; x + lr v.

    Source:
        Hsu et al., Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification,
        arXiv 1909.06335 (FedAvgM). Deviation: it has no server learning rate, which is lr = 1 here.
    """
    rate, kept = np.float32(options.learning_rate), np.float32(options.momentum)

    def apply(projector: F32, delta: F32, state: State) -> tuple[F32, State]:
        velocity = state["velocity"] * kept + delta
        return projector + velocity * rate, {"velocity": velocity}

    return ServerOptimizer({"velocity": 0.0}, apply)


def nesterov(options: NesterovOptions) -> ServerOptimizer:
    """Nesterov momentum, DiLoCo's outer step: v = beta v + d; x + lr (d + beta v).

    Source:
        Douillard et al., DiLoCo: Distributed Low-Communication Training of Language Models, arXiv 2311.08105,
        Algorithm 1 with OuterOpt = Nesterov momentum, in the form that torch.optim.SGD gives it.
    """
    rate, kept = np.float32(options.learning_rate), np.float32(options.momentum)

    def apply(projector: F32, delta: F32, state: State) -> tuple[F32, State]:
        velocity = state["velocity"] * kept + delta
        ahead: F32 = delta + velocity * kept
        return projector + ahead * rate, {"velocity": velocity}

    return ServerOptimizer({"velocity": 0.0}, apply)


def adagrad(options: AdagradOptions) -> ServerOptimizer:
    """FedAdagrad: v = v + d^2; the rest as in `_adaptive`."""
    return _adaptive(options, lambda second, squared: second + squared)


def adam(options: AdamOptions) -> ServerOptimizer:
    """FedAdam: v = beta2 v + (1 - beta2) d^2; the rest as in `_adaptive`."""
    kept, added = np.float32(options.beta2), np.float32(1.0 - options.beta2)
    return _adaptive(options, lambda second, squared: second * kept + squared * added)


def yogi(options: AdamOptions) -> ServerOptimizer:
    """FedYogi: v = v - (1 - beta2) d^2 sign(v - d^2); the rest as in `_adaptive`."""
    added = np.float32(1.0 - options.beta2)
    return _adaptive(options, lambda second, squared: second - squared * added * np.sign(second - squared))


def _adaptive(options: AdagradOptions, second_moment: Callable[[F32, F32], F32]) -> ServerOptimizer:
    """Adaptive rates: m = beta1 m + (1 - beta1) d; v = second_moment(v, d^2); x + lr m / (sqrt(v) + tau).

    m starts at 0 and v at tau^2. There is no bias correction, so no step count is kept.

    Source:
        Reddi et al., Adaptive Federated Optimization, ICLR 2021 (arXiv 2003.00295 version 5), Algorithm 2, whose
        initial v may be anything from tau^2 up. No deviation, but that the combined delta may come from any rule.
    """
    rate, tau = np.float32(options.learning_rate), np.float32(options.tau)
    kept, added = np.float32(options.beta1), np.float32(1.0 - options.beta1)

    def apply(projector: F32, delta: F32, state: State) -> tuple[F32, State]:
        first: F32 = state["first_moment"] * kept + delta * added
        second = second_moment(state["second_moment"], delta * delta)
        scale: F32 = np.sqrt(second) + tau
        return projector + first * rate / scale, {"first_moment": first, "second_moment": second}

    return ServerOptimizer({"first_moment": 0.0, "second_moment": options.tau**2}, apply)


@dataclass(frozen=True, slots=True)
class ServerOptimizerEntry:
    """How one server optimizer is chosen: its options, each with a default, and what builds it from them."""

    options: type[Options]
    build: Callable[[Any], ServerOptimizer]  # Any: each takes its own options


SERVER_OPTIMIZERS: dict[str, ServerOptimizerEntry] = {
    "sgd": ServerOptimizerEntry(SgdOptions, sgd),
    "momentum": ServerOptimizerEntry(MomentumOptions, momentum),
    "nesterov": ServerOptimizerEntry(NesterovOptions, nesterov),
    "adagrad": ServerOptimizerEntry(AdagradOptions, adagrad),
    "adam": ServerOptimizerEntry(AdamOptions, adam),
    "yogi": ServerOptimizerEntry(AdamOptions, yogi),
}


def build_server_optimizer(choice: Choice) -> ServerOptimizer:
    """The server optimizer that a federation chose.

    Raises:
        FederationInvalid: There is no such server optimizer, or an option is wrong; says which.
    """
    known = {name: entry.options for name, entry in SERVER_OPTIMIZERS.items()}
    options = read_options(choice, "strategy.server_optimizer", known)
    return SERVER_OPTIMIZERS[choice.name].build(options)
