"""The server optimizers against torch, against the paper's formulas in float64, and on numbers a person can check."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aggregator.server_optimizers import build_server_optimizer
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice
from tests.rosters import values

COUNT, NUM_STEPS = 64, 6


def trajectory(**choice: object) -> list[np.ndarray]:
    """The projector after each of several steps with fixed deltas."""
    optimizer = build_server_optimizer(Choice.model_validate(choice))
    projector = values("start", COUNT)
    state = {slot: np.full(COUNT, value, np.float32) for slot, value in optimizer.slots.items()}
    path = []
    for step in range(NUM_STEPS):
        projector, state = optimizer.apply(projector, values(f"step-{step}", COUNT, scale=0.1), state)
        path.append(projector)
    return path


def torch_trajectory(**options: float) -> list[np.ndarray]:
    """The same with torch.optim.SGD, whose gradient is the delta's negative."""
    weight = torch.nn.Parameter(torch.from_numpy(values("start", COUNT).copy()))
    optimizer = torch.optim.SGD([weight], **options)
    path = []
    for step in range(NUM_STEPS):
        weight.grad = -torch.from_numpy(values(f"step-{step}", COUNT, scale=0.1).copy())
        optimizer.step()
        path.append(weight.detach().numpy().copy())
    return path


def paper_trajectory(second_moment: Callable[..., np.ndarray], *, beta1: float, tau: float = 1e-3) -> list[np.ndarray]:
    """Algorithm 2 of Reddi et al. in float64, with learning rate 0.1 and beta2 = 0.99."""
    x, m = values("start", COUNT).astype(np.float64), np.zeros(COUNT)
    v = np.full(COUNT, tau**2)
    path = []
    for step in range(NUM_STEPS):
        d = values(f"step-{step}", COUNT, scale=0.1).astype(np.float64)
        m = beta1 * m + (1 - beta1) * d
        v = second_moment(v, d**2)
        x = x + 0.1 * m / (np.sqrt(v) + tau)
        path.append(x)
    return path


def test_sgd_at_rate_one_adds_the_delta() -> None:
    """FedAvg: the next projector is the old one plus the combined delta, bit for bit."""
    expected = values("start", COUNT) + values("step-0", COUNT, scale=0.1)

    assert trajectory(name="sgd")[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("choice", "options"),
    [
        ({"name": "sgd", "learning_rate": 0.5}, {"lr": 0.5}),
        ({"name": "momentum", "learning_rate": 0.5, "momentum": 0.8}, {"lr": 0.5, "momentum": 0.8}),
        ({"name": "nesterov"}, {"lr": 0.7, "momentum": 0.9, "nesterov": True}),
    ],
)
def test_momentum_agrees_with_torch(choice: dict[str, object], options: dict[str, float]) -> None:
    """SGD, momentum and Nesterov (with DiLoCo's values as defaults) follow torch.optim.SGD step by step."""
    np.testing.assert_allclose(trajectory(**choice), torch_trajectory(**options), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "beta1", "second_moment"),
    [
        ("adagrad", 0.0, lambda v, squared: v + squared),
        ("adagrad", 0.5, lambda v, squared: v + squared),
        ("adam", 0.9, lambda v, squared: 0.99 * v + 0.01 * squared),
        ("yogi", 0.9, lambda v, squared: v - 0.01 * squared * np.sign(v - squared)),
    ],
)
def test_adaptive_optimizers_follow_the_paper(
    name: str, beta1: float, second_moment: Callable[..., np.ndarray]
) -> None:
    """FedAdagrad, FedAdam and FedYogi follow Algorithm 2, without bias correction, from v = tau^2 on."""
    measured = trajectory(name=name, learning_rate=0.1, beta1=beta1)

    np.testing.assert_allclose(measured, paper_trajectory(second_moment, beta1=beta1), rtol=1e-4, atol=1e-6)


def test_nesterov_by_hand() -> None:
    """Delta 1, then 0, at rate 1 and momentum 0.5: 1 + 0.5 on the first step, the halved velocity on the second."""
    optimizer = build_server_optimizer(
        Choice.model_validate({"name": "nesterov", "learning_rate": 1.0, "momentum": 0.5})
    )
    projector, state = np.zeros(1, np.float32), {"velocity": np.zeros(1, np.float32)}

    first, state = optimizer.apply(projector, np.ones(1, np.float32), state)
    second, state = optimizer.apply(first, np.zeros(1, np.float32), state)

    assert (first[0], second[0], state["velocity"][0]) == (1.5, 1.75, 0.5)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("momentum", "momentum", 1.0),
        ("nesterov", "momentum", -0.1),
        ("adam", "beta1", 1.0),
        ("yogi", "beta2", 1.5),
        ("adagrad", "tau", 0.0),
        ("adagrad", "beta2", 0.5),
        ("sgd", "momentum", 0.9),
    ],
)
def test_option_out_of_range_is_refused(name: str, option: str, value: float) -> None:
    """An option outside its range, or one that this optimizer does not have, is refused by name."""
    with pytest.raises(FederationInvalid, match=rf"strategy\.server_optimizer.*{option}"):
        build_server_optimizer(Choice.model_validate({"name": name, option: value}))


def test_unknown_server_optimizer_is_refused_with_the_known_ones() -> None:
    """A name that no server optimizer has is refused, and the error says which there are."""
    with pytest.raises(FederationInvalid, match=r"strategy\.server_optimizer\.name: there is no 'lion'; .*yogi"):
        build_server_optimizer(Choice(name="lion"))
