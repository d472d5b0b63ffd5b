"""The methods and defences that the quality benchmark compares are strategies that a federation can have."""

import pytest

from aggregator.pre_steps import build_pre_steps
from aggregator.rules import RULES
from aggregator.server_optimizers import build_server_optimizer
from benchmarks.quality.methods import FEDAVG, METHODS, available
from benchmarks.quality.siege import ASSUMED, defences
from isthmus.federation import Choice


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_server_optimizer_is_the_product_s(name: str) -> None:
    """Each method's server optimizer and options are ones that the aggregator takes."""
    build_server_optimizer(METHODS[name].strategy.server_optimizer)


def test_fedavg_is_the_mean_at_rate_one() -> None:
    """What all else is compared with is the plain weighted mean of the local projectors."""
    strategy = METHODS[FEDAVG].strategy

    assert (strategy.rule, strategy.server_optimizer) == (Choice(name="mean"), Choice(name="sgd"))
    assert (METHODS[FEDAVG].fedprox_mu, METHODS[FEDAVG].control_variates) == (0.0, False)


def test_methods_of_rules_that_are_missing_are_left_out() -> None:
    """Only methods whose rule the tree has are offered, FedAvg among them."""
    assert FEDAVG in available()
    assert {name for name in METHODS if METHODS[name].rule["name"] in RULES} <= available().keys()


def test_every_rule_of_the_registry_is_attacked() -> None:
    """The attacks' columns are all rules there are, told what share of hostile silos to expect, and some pre-steps."""
    known = defences()

    assert RULES.keys() <= known.keys()
    assert known["krum"].rule == {"name": "krum", "hostile_fraction": ASSUMED}
    assert known["trimmed_mean"].rule == {"name": "trimmed_mean", "trim_fraction": ASSUMED}
    for defence in known.values():
        build_pre_steps(defence.strategy.pre_steps)
