"""A round's arithmetic in parts: how a projector is split, what one range gives, and how parts become the whole.

Pure: knows no store and no cluster. Rules that are coordinate-wise and server optimizers, all of which are
elementwise, give each range the bits that they give it within the whole, so that parts laid side by side are what one
process writes.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from aggregator.aggregate import RoundInputs, SteppedBlock, stepped_blocks
from aggregator.blocks import GRAIN, Rule
from aggregator.matrices import MatrixRule
from aggregator.pieces import Range, pieces, ranges
from aggregator.pre_steps import PRE_STEPS, PreStepEntry
from aggregator.rules import MATRIX_RULES, RULES, RuleEntry
from aggregator.server_optimizers import build_server_optimizer
from isthmus.codec import F32, decode, encode
from isthmus.contribution import Encoding
from isthmus.errors import ConfigInvalid, InvariantBroken
from isthmus.federation import Choice, StrategyPolicy
from isthmus.spec import ProjectorSpec

_MOST_VALUES = 1 << 20
"""Of one part: 4 MiB of the projector, and as much for each slot of the state. Shorter ones would cost more reads than
they spread, longer ones leave machines idle at the end."""

_BUDGET_SHARE = 64
"""Bytes of the memory budget for each value of a part: the part itself takes at most a fifth of it."""


def require_shardable(strategy: StrategyPolicy) -> None:
    """Checks that a range of the projector can be combined without the rest.

    Raises:
        ConfigInvalid: The rule or a pre-step decides by whole deltas.
    """
    wholes = [f"pre-step {step.name}" for step in strategy.pre_steps if not _is_split(PRE_STEPS, step)]
    wholes += [f"rule {strategy.rule.name}"] * (not _is_split({**RULES, **MATRIX_RULES}, strategy.rule))
    if wholes:
        able = ", ".join(sorted(name for name, entry in (RULES | PRE_STEPS).items() if entry.coordinate_wise))
        raise ConfigInvalid(
            f'The {wholes[0]} decides by whole deltas, so that combine.by = "ray" cannot split its rounds; it can '
            f'split those of {able}. Set combine.by to "process" at one replica at least: that one publishes them.'
        )


def _is_split(known: Mapping[str, RuleEntry[Rule] | RuleEntry[MatrixRule] | PreStepEntry], choice: Choice) -> bool:
    """Whether it can be; what is not known is refused elsewhere."""
    return choice.name not in known or known[choice.name].coordinate_wise


def split(spec: ProjectorSpec, *, memory_budget_bytes: int) -> list[Range]:
    """The ranges that a round is computed in, in order: all of the projector, each value once."""
    most = min(_MOST_VALUES, max(memory_budget_bytes // _BUDGET_SHARE // GRAIN, 1) * GRAIN)
    return ranges(spec, most_values=most)


def part_of(inputs: RoundInputs, strategy: StrategyPolicy, *, within: Range, memory_budget_bytes: int) -> bytes:
    """What a round gives in one range: float32 [1 + num_slots, num_values], the projector first, then slots sorted.

    Held whole, beside the memory budget.

    Raises:
        FederationInvalid, ConfigInvalid, InvariantBroken: As `aggregator.aggregate.aggregate`; ConfigInvalid, too,
            where the rule decides by whole deltas.
    """
    require_shardable(strategy)
    slots = _slots(strategy)
    rows = np.empty((1 + len(slots), within.num_values), np.float32)
    position = 0
    for block in stepped_blocks(inputs, strategy, memory_budget_bytes=memory_budget_bytes, within=within):
        until = position + len(block.values)
        for row, values in zip(rows, (block.values, *(block.slots[slot] for slot in slots)), strict=True):
            row[position:until] = values
        position = until
    return encode(rows, Encoding.FP32)


def blocks_of(part: bytes, *, spec: ProjectorSpec, strategy: StrategyPolicy, within: Range) -> Iterator[SteppedBlock]:
    """The blocks that a part holds, ready for `aggregator.aggregate.AggregateWriter`.

    Raises:
        InvariantBroken: It is no part of this range.
    """
    slots = _slots(strategy)
    if len(part) != (1 + len(slots)) * within.num_values * 4:
        raise InvariantBroken(f"The part of values {within.start} to {within.stop} has {len(part)} bytes.")
    projector, *state = _rows(part, 1 + len(slots))
    for piece in pieces(spec, length=spec.num_elements, within=within):
        cut = slice(piece.position - within.start, piece.position - within.start + piece.count)
        kept = {slot: row[cut] for slot, row in zip(slots, state, strict=True)}
        yield SteppedBlock(piece.tensor, piece.start, projector[cut], kept)


def _rows(part: bytes, count: int) -> F32:
    rows: F32 = decode(part, Encoding.FP32).reshape(count, -1)
    return rows


def _slots(strategy: StrategyPolicy) -> list[str]:
    return sorted(build_server_optimizer(strategy.server_optimizer).slots)
