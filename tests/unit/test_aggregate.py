"""One round's arithmetic from payloads to files."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from aggregator.aggregate import RoundInputs, check_strategy, state_spec
from aggregator.blocks import CombinedBlock, Payload, RosterBlocks
from aggregator.options import NoOptions
from aggregator.rules import RULES, RuleEntry
from isthmus.contribution import Encoding
from isthmus.errors import ConfigInvalid, FederationInvalid, InvariantBroken
from isthmus.federation import Choice, Federation, StrategyPolicy
from isthmus.payload import header_bytes
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import TINY, WIDE, deltas, payload_bytes, peak_bytes, run_round, values, values_of

BASE = payload_bytes(values("base", TINY.num_elements), TINY)


def federation(**strategy: dict[str, object]) -> Federation:
    """A federation with this strategy and rounds of three silos at least."""
    return Federation.model_validate(
        {
            "name": "tiny",
            "rounds": 1,
            "participation": {"silos": {"min": 3, "max": 9}},
            "plan": {"learning_rate": {"initial": 0.1}},
            "strategy": strategy,
        }
    )


def test_fedavg_of_one_silo_adds_its_delta() -> None:
    """One silo, rule mean, sgd at rate 1: the next projector is projector + delta, bit for bit."""
    delta = deltas(1, TINY)

    projector = run_round(delta, base=BASE).projector

    assert projector == payload_bytes(values("base", TINY.num_elements) + delta[0], TINY)


def test_projector_is_what_safetensors_writes() -> None:
    """The next projector's bytes are those that the safetensors library writes for the same tensors."""
    projector = run_round(
        deltas(3, WIDE), base=payload_bytes(values("wide", WIDE.num_elements), WIDE), spec=WIDE
    ).projector

    tensors = safetensors.numpy.load(projector)

    assert {name: array.shape for name, array in tensors.items()} == {one.name: one.shape for one in WIDE.tensors}
    assert safetensors.numpy.save(tensors) == projector


def test_digest_and_size_are_those_of_the_files() -> None:
    """What is said of the files is true of their bytes."""
    outcome = run_round(deltas(3, TINY), base=BASE, optimizer=Choice(name="adam"))

    assert outcome.result.state is not None
    for data, written in [(outcome.projector, outcome.result.projector), (outcome.state, outcome.result.state)]:
        assert (written.digest, written.size_bytes) == (hashlib.sha256(data).digest(), len(data))


def test_state_is_tensors_named_by_slot() -> None:
    """The server optimizer's state is safetensors with every tensor of the projector once for each slot."""
    state = safetensors.numpy.load(run_round(deltas(2, TINY), base=BASE, optimizer=Choice(name="yogi")).state)

    assert {name: array.shape for name, array in state.items()} == {
        "first_moment/linear_1.bias": (3,),
        "first_moment/linear_1.weight": (3, 2),
        "second_moment/linear_1.bias": (3,),
        "second_moment/linear_1.weight": (3, 2),
    }


def test_state_goes_on_where_the_last_round_ended() -> None:
    """Momentum published by one round acts in the next."""
    delta, momentum = deltas(1, TINY)[0], Choice.model_validate({"name": "momentum", "momentum": 0.5})

    first = run_round([delta], base=BASE, optimizer=momentum)
    second = run_round([delta], base=first.projector, state=first.state, optimizer=momentum)

    velocity = np.float32(0.5) * delta + delta
    expected = values_of(first.projector, TINY.num_elements) + velocity
    assert values_of(second.projector, TINY.num_elements).tobytes() == expected.tobytes()
    assert values_of(second.state, TINY.num_elements).tobytes() == velocity.tobytes()


def test_no_state_is_written_without_slots() -> None:
    """SGD remembers nothing, so nothing is written and nothing is named."""
    outcome = run_round(deltas(2, TINY), base=BASE)

    assert (outcome.state, outcome.result.state) == (b"", None)


def test_projector_that_would_not_be_finite_is_not_published() -> None:
    """A step that overflows stops the round and names the tensor."""
    huge = [np.full(TINY.num_elements, 3e38, np.float32)]

    with pytest.raises(InvariantBroken, match=r"NaN or infinity in linear_1\.bias"):
        run_round(huge, base=BASE, optimizer=Choice.model_validate({"name": "sgd", "learning_rate": 100.0}))


def test_state_that_would_not_be_finite_is_not_published() -> None:
    """A second moment that overflows stops the round too: it would freeze those values for good."""
    with pytest.raises(InvariantBroken, match="NaN or infinity"):
        run_round([np.full(TINY.num_elements, 1e20, np.float32)], base=BASE, optimizer=Choice(name="adam"))


def test_rule_that_leaves_blocks_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that breaks the order of blocks stops the round instead of moving values to other tensors."""

    def backwards(roster: RosterBlocks) -> list[CombinedBlock]:
        blocks = [CombinedBlock(block.tensor, block.start, block.values[0].copy()) for block in roster]
        return blocks[::-1]

    monkeypatch.setitem(RULES, "backwards", RuleEntry(NoOptions, lambda _: backwards, lambda _: 1))

    with pytest.raises(InvariantBroken, match="blocks' order"):
        run_round(deltas(2, TINY), base=BASE, rule=Choice(name="backwards"))


def test_budget_too_small_is_refused_before_anything_is_written() -> None:
    """A memory budget that cannot hold one grain of the roster is refused in words."""
    with pytest.raises(ConfigInvalid, match="memory budget"):
        run_round(deltas(2, TINY), base=BASE, memory_budget_bytes=1000)


def lazily(spec: ProjectorSpec, encoding: Encoding) -> Payload:
    """A payload that exists only as far as it is read; all its values are zeros."""
    header = header_bytes(spec, encoding)
    return Payload(lambda _offset_bytes, size_bytes: bytes(size_bytes), len(header))


@pytest.mark.parametrize("encoding", [Encoding.FP32, Encoding.BF16, Encoding.TOP_K])
@pytest.mark.parametrize("rule", RULES)
def test_memory_stays_within_the_budget(tmp_path: Path, rule: str, encoding: Encoding) -> None:
    """Deltas many times as large as the budget are combined without ever holding more than the budget."""
    budget, num_silos = 2 * 1024 * 1024, 32
    spec = ProjectorSpec((TensorSpec("w", "F32", (256, 1024)),))
    inputs = RoundInputs(
        spec=spec,
        encoding=encoding,
        projector=lazily(spec, Encoding.FP32),
        state=None,
        deltas=(lazily(spec, encoding),) * num_silos,
        num_examples=(1,) * num_silos,
    )
    strategy = StrategyPolicy(rule=Choice(name=rule), server_optimizer=Choice(name="adam"))

    assert peak_bytes(inputs, strategy, budget_bytes=budget, folder=tmp_path) < budget


def test_strategy_that_works_is_accepted() -> None:
    """A strategy with known names, good options and enough silos passes at creation."""
    check_strategy(federation(rule={"name": "median"}, server_optimizer={"name": "adam", "beta1": 0.5}), TINY)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        ({"rule": {"name": "trimmed_mean", "trim_fraction": 0.2}}, "from 5 contributions on"),
        ({"rule": {"name": "best"}}, "no 'best'"),
        ({"server_optimizer": {"name": "sgd", "learning_rate": 0}}, "learning_rate"),
        ({"server_optimizer": {"name": "sgd", "rate": 1.0}}, "rate: there is no such key"),
    ],
)
def test_strategy_that_cannot_work_is_refused(strategy: dict[str, dict[str, object]], text: str) -> None:
    """What is wrong with a strategy is said when the federation is created."""
    with pytest.raises(FederationInvalid, match=text):
        check_strategy(federation(**strategy), TINY)


@pytest.mark.parametrize(
    "spec",
    [
        ProjectorSpec((TensorSpec("x" * 250, "F32", (1,)),)),
        ProjectorSpec(tuple(TensorSpec(f"t{index:04d}", "F32", (1,)) for index in range(600))),
    ],
)
def test_strategy_whose_state_has_no_spec_is_refused(spec: ProjectorSpec) -> None:
    """A projector whose optimizer state could not be stored is refused at creation, not after the first round."""
    with pytest.raises(FederationInvalid, match="adam keeps 2 tensors"):
        check_strategy(federation(server_optimizer={"name": "adam"}), spec)
    check_strategy(federation(server_optimizer={"name": "sgd"}), spec)


def test_state_spec_keeps_the_projectors_order_within_a_slot() -> None:
    """Slots lie one after the other, each in the projector's own order, so a slot is read like a projector."""
    spec = state_spec(WIDE, {"b": 0.0, "a": 0.0})

    assert [tensor.name for tensor in spec.tensors] == [f"{slot}/{one.name}" for slot in "ab" for one in WIDE.tensors]
    assert len(header_bytes(spec, Encoding.FP32)) % 8 == 0
