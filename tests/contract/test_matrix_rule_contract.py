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


@pytest.fixture(params=MATRIX_RULES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each rule."""
    return request.param


def published(name: str, flat: list[F32], *, state: bytes = b"", optimizer: str = "sgd", budget_mib: int = 64) -> Round:
    """What a round by this rule publishes."""
    return run_round(
        flat,
        base=payload_bytes(BASE, WIDE),
        spec=WIDE,
        state=state,
        rule=Choice(name=name),
        optimizer=Choice(name=optimizer),
        memory_budget_bytes=budget_mib << 20,
    )


def test_rule_combines_one_delta_to_itself(name: str) -> None:
    """1: one delta alone is combined to exactly that delta."""
    [delta] = deltas(1, WIDE)

    assert published(name, [delta]).projector == payload_bytes(BASE + delta, WIDE)


def test_rule_combines_equal_deltas_to_that_delta(name: str) -> None:
    """1: silos that agree are believed, up to rounding."""
    flat = deltas(1, WIDE) * NUM_SILOS

    measured = values_of(published(name, flat).projector, WIDE.num_elements)

    np.testing.assert_allclose(measured, BASE + flat[0], atol=1e-6)


def test_rule_does_not_depend_on_the_budget(name: str) -> None:
    """1 and 2: projector and state are the same bits whatever the length of the blocks; so they are when repeated."""
    first = published(name, deltas(NUM_SILOS, WIDE))

    rounds = [
        published(name, deltas(NUM_SILOS, WIDE, name="second"), state=first.state, budget_mib=mib)
        for mib in (24, 64, 512, 512)
    ]

    assert rounds == rounds[:1] * 4


@pytest.mark.parametrize("optimizer", SERVER_OPTIMIZERS)
def test_state_is_of_its_spec(name: str, optimizer: str) -> None:
    """2: beside any server optimizer's slots the state has the tensors that the rule names, in every round."""
    strategy = StrategyPolicy(rule=Choice(name=name), server_optimizer=Choice(name=optimizer))
    spec = kept_spec(WIDE, strategy)
    assert spec is not None
    expected = {tensor.name: tensor.shape for tensor in spec.tensors}

    first = published(name, deltas(NUM_SILOS, WIDE), optimizer=optimizer)
    second = published(name, deltas(NUM_SILOS, WIDE, name="second"), optimizer=optimizer, state=first.state)

    for one in (first, second):
        tensors = safetensors.numpy.load(one.state)
        assert {tensor: array.shape for tensor, array in tensors.items()} == expected
        assert all(np.isfinite(array).all() for array in tensors.values())


def test_names_do_not_clash(name: str) -> None:
    """A name is a rule's of one kind alone, and no server optimizer has a slot by the name of a rule's tensor."""
    rule = build_matrix_rule(Choice(name=name))
    assert rule is not None

    slots = {slot for entry in SERVER_OPTIMIZERS.values() for slot in entry.build(entry.options()).slots}

    assert name not in RULES
    assert not slots & {tensor.name.split("/")[0] for tensor in rule.state(WIDE)}
    with pytest.raises(KeyError):
        build_rule(Choice(name=name))


def test_rule_declares_a_tolerance(name: str) -> None:
    """3: what uses linear algebra says so in the manifest; the range is that of float32's rounding, not of results."""
    assert 0 < MATRIX_RULES[name].tolerance <= 1e-3
    assert not MATRIX_RULES[name].coordinate_wise


def test_steps_before_a_rule_compose(name: str) -> None:
    """What a pre-step makes of weights and deltas is what the rule sees: a cap on the weight acts."""
    flat, rule, cap = (
        deltas(3, WIDE),
        Choice(name=name),
        Choice.model_validate({"name": "weight_cap", "max_share": 0.5}),
    )
    base = payload_bytes(BASE, WIDE)

    capped = run_round(flat, base=base, spec=WIDE, num_examples=[1, 1, 10], rule=rule, pre_steps=[cap])

    assert capped == run_round(flat, base=base, spec=WIDE, num_examples=[1, 1, 2], rule=rule)


def test_memory_stays_within_the_budget(name: str, tmp_path: Path) -> None:
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
    strategy = StrategyPolicy(rule=Choice(name=name), server_optimizer=Choice(name="adam"))

    assert peak_bytes(inputs, strategy, budget_bytes=budget, folder=tmp_path) < budget
