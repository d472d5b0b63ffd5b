"""How the methods' options were found: a few of each, on a seed that no table uses; the least loss over the splits."""

import dataclasses
from collections.abc import Sequence

from benchmarks.quality.cells import Cell
from benchmarks.quality.federate import RECIPE
from benchmarks.quality.methods import FEDAVG, METHODS, Method

SEARCH_SEED = 100
"""No table uses it."""

SEARCH_SPLITS = ("topic",)


def _served(name: str, **options: float) -> Method:
    return Method(name, server_optimizer={"name": name, **options})


CANDIDATES: dict[str, list[Method]] = {
    "server-lr": [_served("sgd", learning_rate=rate) for rate in (1.5, 2.0)],
    "fedprox": [Method("FedProx", fedprox_mu=mu) for mu in (0.001, 0.01, 0.1)],
    "fedavgm": [
        _served("momentum", learning_rate=rate, momentum=beta) for rate, beta in ((1.0, 0.5), (1.0, 0.9), (0.3, 0.9))
    ],
    "fedadam": [_served("adam", learning_rate=rate) for rate in (0.003, 0.01, 0.03, 0.1)],
    "fedyogi": [_served("yogi", learning_rate=rate) for rate in (0.003, 0.01, 0.03, 0.1)],
    "diloco": [_served("nesterov", learning_rate=rate) for rate in (0.3, 0.7)],
    "fed_cmp": [
        Method("Fed-CMP", rule={"name": "fed_cmp", "reliability": reliability, "beta": beta, "space": space})
        for space in ("weights", "deltas")
        for reliability in ("uniform", "cosine", "softmax", "inverse_deviation")
        for beta in (0.0, 0.5)
        if beta or reliability != "uniform"
    ],
}
"""What is tried of each method."""

RATES = (2e-3, 4e-3, 8e-3)
"""Local learning rates tried with FedAvg, for all."""


def searched(names: Sequence[str]) -> list[Cell]:
    """Every candidate of these methods; of FedAvg the local learning rates."""
    cells = []
    for split in SEARCH_SPLITS:
        for name in names:
            if name == FEDAVG:
                recipes = [dataclasses.replace(RECIPE, learning_rate=rate) for rate in RATES]
                cells += [Cell(split, "multi_pass", name, METHODS[name], SEARCH_SEED, recipe) for recipe in recipes]
            cells += [Cell(split, "multi_pass", name, one, SEARCH_SEED) for one in CANDIDATES.get(name, ())]
    return cells


def told(cell: Cell) -> str:
    """What sets a candidate apart from others of its method."""
    method = cell.method
    options = {**method.server_optimizer, "fedprox_mu": method.fedprox_mu, "local rate": cell.recipe.learning_rate}
    if method.rule["name"] != "mean":
        options |= method.rule
    return ", ".join(f"{key} {value}" for key, value in options.items() if value)
