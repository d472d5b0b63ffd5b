"""Parts laid side by side are what one process writes: for every rule, pre-step and server optimizer there is."""

import hashlib
import io
from dataclasses import replace

import pytest

from aggregator.aggregate import AggregateWriter, RoundInputs, aggregate
from aggregator.blocks import GRAIN
from aggregator.pieces import ranges
from aggregator.pre_steps import PRE_STEPS
from aggregator.rules import MATRIX_RULES, RULES
from aggregator.server_optimizers import SERVER_OPTIMIZERS
from aggregator.sharding.parts import blocks_of, part_of
from isthmus.contribution import READABLE, Encoding
from isthmus.errors import ConfigInvalid
from isthmus.federation import Choice, StrategyPolicy
from tests.rosters import WIDE, deltas, payload, payload_bytes, values

NUM_SILOS = 7
BUDGET_BYTES = 1 << 20

Files = tuple[bytes, bytes]


def round_of(encoding: Encoding, state: bytes = b"") -> RoundInputs:
    """A round of seven silos, some of them stale."""
    flat = deltas(NUM_SILOS, WIDE)
    return RoundInputs(
        spec=WIDE,
        encoding=encoding,
        projector=payload(payload_bytes(values("base", WIDE.num_elements), WIDE)),
        state=payload(state) if state else None,
        deltas=tuple(payload(payload_bytes(one, WIDE, encoding)) for one in flat),
        num_examples=tuple(range(1, NUM_SILOS + 1)),
        staleness=(0, 1, 0, 2, 0, 0, 3),
    )


def in_one(inputs: RoundInputs, strategy: StrategyPolicy) -> Files:
    """Projector and state as one process writes them."""
    outs = io.BytesIO(), io.BytesIO()
    aggregate(inputs, strategy, memory_budget_bytes=64 << 20, projector_out=outs[0], state_out=outs[1])
    return outs[0].getvalue(), outs[1].getvalue()


def in_parts(inputs: RoundInputs, strategy: StrategyPolicy, *, most_values: int) -> Files:
    """The same out of parts; what is told of the files is true."""
    outs = io.BytesIO(), io.BytesIO()
    writer = AggregateWriter(WIDE, strategy, projector_out=outs[0], state_out=outs[1])
    for within in ranges(WIDE, most_values=most_values):
        part = part_of(inputs, strategy, within=within, memory_budget_bytes=BUDGET_BYTES)
        for block in blocks_of(part, spec=WIDE, strategy=strategy, within=within):
            writer.put(block)
    told, files = writer.finish(), (outs[0].getvalue(), outs[1].getvalue())
    for written, data in zip((told.projector, told.state), files, strict=True):
        assert (written.digest if written else b"") == (hashlib.sha256(data).digest() if data else b"")
    return files


@pytest.mark.parametrize("encoding", READABLE)
@pytest.mark.parametrize("optimizer", SERVER_OPTIMIZERS)
@pytest.mark.parametrize("rule", RULES)
def test_parts_are_the_whole(rule: str, optimizer: str, encoding: Encoding) -> None:
    """Files are the same in parts of any size, also from a state on; a rule of whole deltas is refused by name."""
    strategy = StrategyPolicy(rule=Choice(name=rule), server_optimizer=Choice(name=optimizer))
    inputs = round_of(encoding)
    if not RULES[rule].coordinate_wise:
        with pytest.raises(ConfigInvalid, match=rule):
            in_parts(inputs, strategy, most_values=GRAIN)
        return

    first = in_one(inputs, strategy)
    assert in_parts(inputs, strategy, most_values=GRAIN) == first
    further = replace(inputs, state=payload(first[1]) if first[1] else None)
    for most_values in (GRAIN, 3 * GRAIN, 1024 * GRAIN):
        assert in_parts(further, strategy, most_values=most_values) == in_one(further, strategy)


@pytest.mark.parametrize("rule", MATRIX_RULES)
def test_rules_of_matrices_are_refused(rule: str) -> None:
    """A rule that sees whole matrices has no parts; it is refused by name."""
    with pytest.raises(ConfigInvalid, match=f"rule {rule}"):
        in_parts(round_of(Encoding.FP32), StrategyPolicy(rule=Choice(name=rule)), most_values=GRAIN)


@pytest.mark.parametrize("step", PRE_STEPS)
def test_parts_are_the_whole_after_a_pre_step(step: str) -> None:
    """The same where a pre-step looks at nothing but positions and weights; one of whole deltas is refused by name."""
    strategy = StrategyPolicy(pre_steps=(Choice(name="weight_cap"), Choice(name=step)))
    inputs = round_of(Encoding.BF16)
    if not PRE_STEPS[step].coordinate_wise:
        with pytest.raises(ConfigInvalid, match=f"pre-step {step}"):
            in_parts(inputs, strategy, most_values=GRAIN)
        return

    for most_values in (GRAIN, 3 * GRAIN, 1024 * GRAIN):
        assert in_parts(inputs, strategy, most_values=most_values) == in_one(inputs, strategy)
