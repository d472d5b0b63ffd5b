"""What every server optimizer keeps, as `ServerOptimizer` numbers it; being in SERVER_OPTIMIZERS is being tested."""

import numpy as np
import pytest

from aggregator.server_optimizers import SERVER_OPTIMIZERS, ServerOptimizer, State, build_server_optimizer
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice
from tests.rosters import values

COUNT = 257


@pytest.fixture(params=SERVER_OPTIMIZERS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each server optimizer."""
    return request.param


@pytest.fixture
def optimizer(name: str) -> ServerOptimizer:
    """Each server optimizer with its default options."""
    return build_server_optimizer(Choice(name=name))


def first_state(optimizer: ServerOptimizer, count: int = COUNT) -> State:
    """What the optimizer starts from."""
    return {slot: np.full(count, value, np.float32) for slot, value in optimizer.slots.items()}


def after_two_steps(optimizer: ServerOptimizer) -> tuple[np.ndarray, State]:
    """A projector and a state that are no longer the first."""
    projector, state = values("projector", COUNT), first_state(optimizer)
    for step in range(2):
        projector, state = optimizer.apply(projector, values(f"delta-{step}", COUNT, scale=0.1), state)
    return projector, state


def test_optimizer_changes_no_argument(optimizer: ServerOptimizer) -> None:
    """1: apply gives new float32 arrays and leaves its arguments as they were."""
    projector, state = after_two_steps(optimizer)
    delta = values("delta", COUNT)
    arguments = [projector, delta, *state.values()]
    before = [argument.copy() for argument in arguments]

    stepped, next_state = optimizer.apply(projector, delta, state)

    assert all(np.array_equal(one, other) for one, other in zip(arguments, before, strict=True))
    given = [stepped, *next_state.values()]
    assert [(one.dtype, one.shape) for one in given] == [(np.dtype(np.float32), (COUNT,))] * len(given)
    assert not any(np.shares_memory(one, other) for one in given for other in arguments)


def test_optimizer_keeps_its_slots(optimizer: ServerOptimizer) -> None:
    """2: the state has the same slots after every step."""
    _, state = after_two_steps(optimizer)

    assert set(state) == set(optimizer.slots)


def test_optimizer_is_elementwise(optimizer: ServerOptimizer) -> None:
    """3: a part of the arguments gives the same bits as that part of the result."""
    projector, state = after_two_steps(optimizer)
    delta = values("delta", COUNT)
    part = slice(100, 163)

    whole, whole_state = optimizer.apply(projector, delta, state)
    split, split_state = optimizer.apply(
        projector[part], delta[part], {slot: array[part] for slot, array in state.items()}
    )

    assert split.tobytes() == whole[part].tobytes()
    assert all(split_state[slot].tobytes() == whole_state[slot][part].tobytes() for slot in optimizer.slots)


def test_optimizer_stays_when_nothing_moves(optimizer: ServerOptimizer) -> None:
    """4: from the first state, a delta of zeros leaves the projector as it is."""
    projector = values("projector", COUNT)

    stepped, _ = optimizer.apply(projector, np.zeros(COUNT, np.float32), first_state(optimizer))

    assert np.array_equal(stepped, projector)


def test_optimizer_moves_along_the_delta(optimizer: ServerOptimizer) -> None:
    """The first step moves every value in the direction of its delta, not against it."""
    delta = values("delta", COUNT)

    stepped, _ = optimizer.apply(np.zeros(COUNT, np.float32), delta, first_state(optimizer))

    assert np.array_equal(np.sign(stepped), np.sign(delta))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan"), "0.1", True])
def test_optimizer_refuses_a_learning_rate_out_of_range(name: str, rate: object) -> None:
    """A learning rate that is not a finite number above 0 is refused by name."""
    with pytest.raises(FederationInvalid, match=r"strategy\.server_optimizer.*learning_rate"):
        build_server_optimizer(Choice.model_validate({"name": name, "learning_rate": rate}))


def test_optimizer_takes_a_whole_number_for_a_rate(name: str) -> None:
    """TOML's 1 is as good as its 1.0."""
    build_server_optimizer(Choice.model_validate({"name": name, "learning_rate": 1}))
