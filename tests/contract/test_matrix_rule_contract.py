"""What every rule of matrices keeps, as `aggregator.matrices.MatrixRule` numbers it, for all in MATRIX_RULES."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from aggregator.aggregate import RoundInputs, kept_spec
from aggregator.blocks import Payload
from aggregator.rules import MATRIX_RULES, RULES, build_matrix_rule, build_rule
from aggregator.server_optimizers import SERVER_OPTIMIZERS
from isthmus.codec import F32
from isthmus.contribution import Encoding
from isthmus.federation import Choice, StrategyPolicy
from isthmus.payload import header_bytes
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import WIDE, Round, deltas, payload_bytes, peak_bytes, run_round, values, values_of

NUM_SILOS = 5
BASE = values("base", WIDE.num_elements)


RULES_HERE: dict[str, Choice] = {
    **{name: Choice(name=name) for name in MATRIX_RULES},
    "fed_cmp with state": Choice.model_validate({"name": "fed_cmp", "beta": 0.5}),
}
"""Each with its defaults, and one that keeps state where the defaults have none."""


@pytest.fixture(params=RULES_HERE)
def rule(request: pytest.FixtureRequest) -> Choice:
    """Each rule."""
    return RULES_HERE[request.param]


def published(
    rule: Choice, flat: list[F32], *, state: bytes = b"", optimizer: str = "sgd", budget_mib: int = 64
) -> Round:
    """What a round by this rule publishes."""
    return run_round(
        flat,
        base=payload_bytes(BASE, WIDE),
        spec=WIDE,
        state=state,
        rule=rule,
        optimizer=Choice(name=optimizer),
        memory_budget_bytes=budget_mib << 20,
    )


def test_rule_combines_one_delta_to_itself(rule: Choice) -> None:
    """1: one delta alone is combined to exactly that delta."""
    [delta] = deltas(1, WIDE)

    assert published(rule, [delta]).projector == payload_bytes(BASE + delta, WIDE)


def test_rule_combines_equal_deltas_to_that_delta(rule: Choice) -> None:
    """1: silos that agree are believed, up to rounding."""
    flat = deltas(1, WIDE) * NUM_SILOS

    measured = values_of(published(rule, flat).projector, WIDE.num_elements)

    np.testing.assert_allclose(measured, BASE + flat[0], atol=1e-6)


def test_rule_does_not_depend_on_the_budget(rule: Choice) -> None:
    """1 and 2: projector and state are the same bits whatever the length of the blocks; so they are when repeated."""
    first = published(rule, deltas(NUM_SILOS, WIDE))

    rounds = [
        published(rule, deltas(NUM_SILOS, WIDE, name="second"), state=first.state, budget_mib=mib)
        for mib in (24, 64, 512, 512)
    ]

    assert rounds == rounds[:1] * 4


@pytest.mark.parametrize("optimizer", SERVER_OPTIMIZERS)
def test_state_is_of_its_spec(rule: Choice, optimizer: str) -> None:
    """2: beside any server optimizer's slots the state has the tensors that the rule names, in every round."""
    spec = kept_spec(WIDE, StrategyPolicy(rule=rule, server_optimizer=Choice(name=optimizer)))
    expected = {tensor.name: tensor.shape for tensor in spec.tensors} if spec else {}

    first = published(rule, deltas(NUM_SILOS, WIDE), optimizer=optimizer)
    second = published(rule, deltas(NUM_SILOS, WIDE, name="second"), optimizer=optimizer, state=first.state)

    for one in (first, second):
        tensors = safetensors.numpy.load(one.state) if one.state else {}
        assert {tensor: array.shape for tensor, array in tensors.items()} == expected
        assert all(np.isfinite(array).all() for array in tensors.values())


def test_names_do_not_clash(rule: Choice) -> None:
    """A name is a rule's of one kind alone, and no server optimizer has a slot by the name of a rule's tensor."""
    built = build_matrix_rule(rule)
    assert built is not None

    slots = {slot for entry in SERVER_OPTIMIZERS.values() for slot in entry.build(entry.options()).slots}

    assert rule.name not in RULES
    assert not slots & {tensor.name.split("/")[0] for tensor in built.state(WIDE)}
    with pytest.raises(KeyError):
        build_rule(rule)


def test_rule_declares_a_tolerance(rule: Choice) -> None:
    """3: what uses linear algebra says so in the manifest; the range is that of float32's rounding, not of results."""
    assert 0 < MATRIX_RULES[rule.name].tolerance <= 1e-3
    assert not MATRIX_RULES[rule.name].coordinate_wise


def test_steps_before_a_rule_compose(rule: Choice) -> None:
    """What a pre-step makes of weights and deltas is what the rule sees: a cap on the weight acts."""
    flat, cap = deltas(3, WIDE), Choice.model_validate({"name": "weight_cap", "max_share": 0.5})
    base = payload_bytes(BASE, WIDE)

    capped = run_round(flat, base=base, spec=WIDE, num_examples=[1, 1, 10], rule=rule, pre_steps=[cap])

    assert capped == run_round(flat, base=base, spec=WIDE, num_examples=[1, 1, 2], rule=rule)


@pytest.mark.parametrize("rule", [RULES_HERE["fed_cmp with state"]], ids=lambda rule: rule.name)  # which holds most
def test_memory_stays_within_the_budget(rule: Choice, tmp_path: Path) -> None:
    """A round is combined without ever holding more than the budget, near the least that is accepted."""
    budget, num_silos = 14 << 20, 24
    spec = ProjectorSpec(tuple(TensorSpec(tensor, "F32", (256, 256)) for tensor in "vw"))
    noise = values("noise", 1 << 18).tobytes() * 2

    def lazily(silo: int) -> Payload:
        """A payload that exists only as far as it is read."""

        def read(offset_bytes: int, size_bytes: int) -> bytes:
            shifted = (offset_bytes + 4 * 7919 * silo) % (1 << 20)
            return noise[shifted : shifted + size_bytes]

        return Payload(read, len(header_bytes(spec, Encoding.FP32)))

    inputs = RoundInputs(
        spec=spec,
        encoding=Encoding.FP32,
        projector=lazily(0),
        state=None,
        deltas=tuple(lazily(silo) for silo in range(num_silos)),
        num_examples=(1,) * num_silos,
    )
    strategy = StrategyPolicy(rule=rule, server_optimizer=Choice(name="adam"))

    assert peak_bytes(inputs, strategy, budget_bytes=budget, folder=tmp_path) < budget
