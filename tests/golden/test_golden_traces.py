"""Three rounds of every rule with every server optimizer, and after every pre-step, compared bit for bit.

They are JSON that a reviewer can read. A change that should not alter results leaves the traces untouched; one that
should rewrites them (`make golden`, which sets ISTHMUS_REWRITE_GOLDEN=1) and shows the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aggregator.pre_steps import PRE_STEPS
from aggregator.rules import MATRIX_RULES, RULES
from aggregator.server_optimizers import SERVER_OPTIMIZERS
from isthmus.contribution import READABLE
from isthmus.federation import Choice
from tests.rosters import TINY, deltas, payload_bytes, run_round, values, values_of

TRACES = Path(__file__).parent / "traces"
NUM_SILOS, NUM_ROUNDS = 5, 3
MATRIX_TRACES: dict[str, Choice] = {
    "fed_cmp": Choice(name="fed_cmp"),
    "fed_cmp-momentum": Choice.model_validate(
        {
            "name": "fed_cmp",
            "space": "weights",
            "reliability": "inverse_deviation",
            "extrapolation": "none",
            "beta": 0.5,
        }
    ),
}
"""Rules of matrices, some with options that keep other code at work than their defaults do."""


def trace(rule: Choice, optimizer: str, *pre_steps: str) -> dict[str, Any]:
    """What each round published: the projector's values, exactly, and the digests of both files."""
    projector, state = payload_bytes(values("golden", TINY.num_elements), TINY), b""
    rounds = []
    for number in range(1, NUM_ROUNDS + 1):
        outcome = run_round(
            deltas(NUM_SILOS, TINY, name=f"golden-{number}"),
            base=projector,
            state=state,
            rule=rule,
            optimizer=Choice(name=optimizer),
            pre_steps=[Choice(name=step) for step in pre_steps],
            encoding=READABLE[number - 1],
        )
        projector, state = outcome.projector, outcome.state
        rounds.append(
            {
                "round": number,
                "projector": values_of(projector, TINY.num_elements).tolist(),
                "projector_sha256": outcome.result.projector.digest.hex(),
                "state_sha256": outcome.result.state.digest.hex() if outcome.result.state else "",
            }
        )
    told = {"pre_steps": list(pre_steps)} if pre_steps else {}
    return {
        **told,
        "rule": rule.name,
        **rule.options,
        "server_optimizer": optimizer,
        "num_silos": NUM_SILOS,
        "rounds": rounds,
    }


def check(trace: dict[str, object], file: Path) -> None:
    """Compares a trace with its file, or writes it where that was asked for."""
    if os.environ.get("ISTHMUS_REWRITE_GOLDEN") == "1":
        file.write_text(json.dumps(trace, indent=1) + "\n", encoding="ascii")

    assert file.exists(), f"{file.name} is missing: run `make golden` and look at what it wrote"
    assert trace == json.loads(file.read_text(encoding="ascii"))


@pytest.mark.parametrize("optimizer", SERVER_OPTIMIZERS)
@pytest.mark.parametrize("rule", RULES)
def test_trace_is_unchanged(rule: str, optimizer: str) -> None:
    """This rule with this server optimizer publishes what it published when the trace was written, bit for bit."""
    check(trace(Choice(name=rule), optimizer), TRACES / f"{rule}-{optimizer}.json")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("step", PRE_STEPS)
def test_trace_after_a_pre_step_is_unchanged(step: str, rule: str) -> None:
    """This rule publishes after this pre-step what it published when the trace was written, bit for bit."""
    check(trace(Choice(name=rule), "sgd", step), TRACES / f"{step}+{rule}-sgd.json")


@pytest.mark.parametrize("name", MATRIX_TRACES)
def test_trace_of_a_rule_of_matrices_is_within_its_tolerance(name: str) -> None:
    """This rule publishes what it published when the trace was written, as far as it declares to."""
    rule = MATRIX_TRACES[name]
    file, traced = TRACES / f"{name}-sgd.json", trace(rule, "sgd")
    for one in traced["rounds"]:
        del one["projector_sha256"], one["state_sha256"]  # other linear algebra gives other last digits
    if os.environ.get("ISTHMUS_REWRITE_GOLDEN") == "1":
        file.write_text(json.dumps(traced, indent=1) + "\n", encoding="ascii")

    kept = json.loads(file.read_text(encoding="ascii"))

    for now, was in zip(traced.pop("rounds"), kept.pop("rounds"), strict=True):
        largest = max(abs(value) for value in was["projector"])
        assert now.pop("projector") == pytest.approx(
            was.pop("projector"), abs=MATRIX_RULES[rule.name].tolerance * largest
        )
        assert now == was
    assert traced == kept


def test_every_trace_has_its_strategy() -> None:
    """No trace is left behind by a rule, pre-step or server optimizer that is gone."""
    expected = {f"{rule}-{optimizer}.json" for rule in RULES for optimizer in SERVER_OPTIMIZERS}
    expected |= {f"{step}+{rule}-sgd.json" for step in PRE_STEPS for rule in RULES}
    expected |= {f"{name}-sgd.json" for name in MATRIX_TRACES}
    assert {rule.name for rule in MATRIX_TRACES.values()} == set(MATRIX_RULES)

    assert {file.name for file in TRACES.iterdir()} == expected
