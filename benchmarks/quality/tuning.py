"""How the methods' options were found: a few of each, on seeds that no table uses; the least loss over all cells."""

import dataclasses
from collections.abc import Sequence

from benchmarks.quality.cells import Cell
from benchmarks.quality.federate import RECIPE, Recipe
from benchmarks.quality.methods import FEDAVG, METHODS, Method

SEARCH_SEEDS = (100, 101)
"""No table uses them."""

SEARCH_SPLITS = ("topic", "vendor")


def _served(name: str, **options: float) -> Method:
    return Method(name, server_optimizer={"name": name, **options})


def _fused(**options: object) -> Method:
    """Fed-CMP with one option after another beside these."""
    common = {"reliability": "uniform", "extrapolation": "direction", "beta": 0.0, "space": "deltas"}
    return Method("Fed-CMP", rule={"name": "fed_cmp", **common, **options})


CANDIDATES: dict[str, list[Method]] = {
    "server-lr": [_served("sgd", learning_rate=rate) for rate in (1.25, 1.5, 2.0)],
    "fedprox": [Method("FedProx", fedprox_mu=mu) for mu in (0.001, 0.01, 0.1, 0.3)],
    "fedavgm": [
        _served("momentum", learning_rate=rate, momentum=beta)
        for rate, beta in ((1.0, 0.3), (1.0, 0.5), (1.0, 0.9), (0.3, 0.9))
    ],
    "fedadam": [_served("adam", learning_rate=rate) for rate in (0.003, 0.01, 0.03, 0.1)],
    "fedyogi": [_served("yogi", learning_rate=rate) for rate in (0.003, 0.01, 0.03, 0.1)],
    "diloco": [_served("nesterov", learning_rate=rate) for rate in (0.3, 0.7)],
    "fed_cmp": [
        *(
            _fused(reliability=reliability, extrapolation="none", beta=beta, space=space)
            for space in ("weights", "deltas")
            for reliability, beta in (("uniform", 0.5), ("cosine", 0.0), ("inverse_deviation", 0.0))
        ),
        _fused(),
        *(_fused(reliability=reliability) for reliability in ("cosine", "softmax", "inverse_deviation")),
        _fused(extrapolation="matrix", energy=1.0, rank=96),
        _fused(space="weights"),
        _fused(beta=0.5),
        *(_fused(rank=rank) for rank in (16, 32)),
        _fused(energy=0.8),
        _fused(energy=1.0, rank=96),
    ],
}
"""What is tried of each method."""

RATES = (2e-3, 4e-3, 8e-3)
"""Local learning rates tried with FedAvg, for all."""


def searched(names: Sequence[str]) -> list[Cell]:
    """Every candidate of these methods; of FedAvg the local learning rates."""
    return [
        Cell(split, "multi_pass", name, method, seed, recipe)
        for seed in SEARCH_SEEDS
        for split in SEARCH_SPLITS
        for name in names
        for method, recipe in _candidates(name)
    ]


def _candidates(name: str) -> list[tuple[Method, Recipe]]:
    if name == FEDAVG:
        return [(METHODS[name], dataclasses.replace(RECIPE, learning_rate=rate)) for rate in RATES]
    return [(method, RECIPE) for method in CANDIDATES.get(name, ())]


def told(cell: Cell) -> str:
    """What sets a candidate apart from others of its method."""
    method = cell.method
    options = {**method.server_optimizer, "fedprox_mu": method.fedprox_mu, "local rate": cell.recipe.learning_rate}
    if method.rule["name"] != "mean":
        options |= method.rule
    return ", ".join(f"{key} {value}" for key, value in options.items() if value)
