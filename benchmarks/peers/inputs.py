"""What four clients send, one of them hostile: the same numbers for every system, in numpy alone.

Flower's and NVFlare's environments import this, so nothing of Isthmus may be imported here. A client sends tensors and
a weight. Flower's and NVFlare's send the whole model (global + delta), ours the delta; a hostile input bends either.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[np.generic]]
Bend = Callable[[Tensors], Tensors]

SHAPES = {"bias": (16,), "weight": (16, 8)}
NUM_CLIENTS = 4
NUM_EXAMPLES = 100
"""Every honest client's weight."""

LIE_STEPS = -10.0
"""What a client sends that lies about direction alone: this many steps of the honest mean."""


@dataclass(frozen=True, slots=True)
class Input:
    """What the bad client sends.

    Attributes:
        name: Its key in files.
        text: What it is, for people.
        battery: Where the battery of hostile inputs sends the like at Isthmus; "" of what nobody can tell to be hostile
            from one delta, which is here to show that not everything is refused.
        bend: What becomes of its tensors.
        num_examples: Its weight.
        lies: Whether its delta is `LIE_STEPS` honest steps and not an honest one: shows what a weight does.
    """

    name: str
    text: str
    battery: str = ""
    bend: Bend = dict
    num_examples: int = NUM_EXAMPLES
    lies: bool = False

    @property
    def is_hostile(self) -> bool:
        """Whether it must be refused."""
        return self.battery != ""


def global_tensors() -> Tensors:
    """The model that the round starts from."""
    return _drawn(0, scale=0.02)


def honest_delta(client: int) -> Tensors:
    """What an honest client learned: a common direction and something of its own."""
    common, own = _drawn(1, scale=0.002), _drawn(2 + client, scale=0.001)
    return {name: common[name] + own[name] for name in SHAPES}


def honest_mean() -> Tensors:
    """The mean of the honest clients' deltas, in float64: of all but the last."""
    deltas = [honest_delta(client) for client in range(NUM_CLIENTS - 1)]
    return {name: np.mean([delta[name].astype(np.float64) for delta in deltas], axis=0) for name in SHAPES}


def hostile_delta(given: Input) -> Tensors:
    """The delta of the last client, who is the bad one."""
    lie = {name: (LIE_STEPS * mean).astype(np.float32) for name, mean in honest_mean().items()}
    return given.bend(lie if given.lies else honest_delta(NUM_CLIENTS - 1))


def hostile_model(given: Input) -> Tensors:
    """The same client's whole model."""
    return given.bend(model_of(hostile_delta(Input("", "", lies=given.lies))))


def model_of(delta: Tensors) -> Tensors:
    """Global + delta, in float32."""
    start = global_tensors()
    return {name: start[name] + delta[name] for name in SHAPES}


def _drawn(seed: int, *, scale: float) -> Tensors:
    """Normal values in float32 that follow from the seed."""
    draw = np.random.default_rng(seed)
    return {name: (scale * draw.standard_normal(shape)).astype(np.float32) for name, shape in SHAPES.items()}


def _one(value: float) -> Bend:
    """Puts this into one value of the weight."""

    def bend(tensors: Tensors) -> Tensors:
        weight = tensors["weight"].copy()
        weight[3, 2] = value
        return {**tensors, "weight": weight}

    return bend


def _every(value: float) -> Bend:
    """Puts this into every value."""
    return lambda tensors: {name: np.full_like(tensor, value) for name, tensor in tensors.items()}


HONEST = Input("honest", "honest (must be counted)")
LIE = Input("lie", f"a lie: {-LIE_STEPS:.0f} honest steps backwards", lies=True)
GREATEST = Input("weight-1e6", "the lie with weight 1e6", num_examples=10**6, lies=True)
"""The greatest weight that Isthmus takes unless a federation's policy says less."""

INPUTS = (
    Input("nan-one", "NaN in one value", "B09", _one(np.nan)),
    Input("nan-every", "NaN in every value", "B09", _every(np.nan)),
    Input("inf", "+Inf in one value", "B10", _one(np.inf)),
    Input("minus-inf", "-Inf in one value", "B10", _one(-np.inf)),
    Input("values-1e30", "every value 1e30", "B11", _every(1e30)),
    Input("shape-one", "bias of shape (1,), not (16,)", "B05", lambda own: {**own, "bias": own["bias"][:1].copy()}),
    Input("shape-column", "bias of shape (16, 1), not (16,)", "B05", lambda own: {**own, "bias": own["bias"][:, None]}),
    Input("weight-1e18", "the lie with weight 1e18", "B19", num_examples=10**18, lies=True),
    Input("weight-negative", "the lie with weight -299", "B19", num_examples=-299, lies=True),
    Input("weight-zero", "the lie with weight 0", "B19", num_examples=0, lies=True),
    Input("missing", "a tensor missing", "B01", lambda own: {"weight": own["weight"]}),
    Input("extra", "a tensor too many", "B02", lambda own: {**own, "extra": np.ones(16, np.float32)}),
    Input("dtype", "float64, not float32", "B07", lambda own: {name: own[name].astype(np.float64) for name in own}),
    HONEST,
    LIE,
    GREATEST,
)
