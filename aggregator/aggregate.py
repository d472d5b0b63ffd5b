"""One round's arithmetic from end to end: roster in, next global projector out, block by block.

Knows rules, server optimizers and where values lie in a payload; reads and writes through what it is given.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from aggregator.blocks import (
    Block,
    CombinedBlock,
    Payload,
    Reader,
    RosterBlocks,
    Rule,
    block_length,
    walk_payloads,
)
from aggregator.gram import scratch_bytes
from aggregator.masked_sums import MaskedRound, opened_blocks
from aggregator.matrices import BLOCKS_SHARE, MatrixRound, MatrixRule, tensors_of
from aggregator.payload_writer import PayloadWriter, Written
from aggregator.pieces import Range
from aggregator.pre_steps import build_pre_steps
from aggregator.rules import build_matrix_rule, build_rule, check_rule, entry_of
from aggregator.server_optimizers import ServerOptimizer, State, build_server_optimizer
from aggregator.staleness import discounted
from isthmus.codec import F32, encode
from isthmus.contribution import Encoding
from isthmus.errors import FederationInvalid, InvariantBroken, SpecMismatch
from isthmus.federation import Federation, StrategyPolicy
from isthmus.payload import layout, spans
from isthmus.spec import ProjectorSpec, TensorSpec


@dataclass(frozen=True, slots=True)
class RoundInputs:
    """Everything that decides the next global projector.

    Attributes:
        spec: What the projector looks like.
        encoding: Of the deltas.
        projector: The global projector that the round starts from, float32.
        state: The state published with it, the server optimizer's and the rule's; None before the first step.
        deltas: The roster's payloads, in roster order; at least one.
        num_examples: Aggregation weight of each, at least 1.
        staleness: Rounds between the projector that each was trained from and this one; empty: all 0.
        seed: Bytes that nobody knows before the roster is fixed, for pre-steps that shuffle.
        masked: The deltas' sum, with secure aggregation: then it is opened in place of any rule.
    """

    spec: ProjectorSpec
    encoding: Encoding
    projector: Payload
    state: Payload | None
    deltas: tuple[Payload, ...]
    num_examples: tuple[int, ...]
    staleness: tuple[int, ...] = ()
    seed: bytes = b""
    masked: MaskedRound | None = None


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The next global projector, and the server optimizer's and the rule's state to publish with it (None: none)."""

    projector: Written
    state: Written | None


@dataclass(frozen=True, slots=True)
class SteppedBlock:
    """What is published of one block: the next projector's values and each slot's of the state, float32 [block]."""

    tensor: str
    start: int
    values: F32
    slots: State


class AggregateWriter:
    """What a round gives, on its way into its files. Blocks may come in any order, each once; all before `finish`.

    Args:
        spec: Of the projector.
        strategy: Of the federation.
        projector_out: See `aggregate`.
        state_out: See `aggregate`.
    """

    def __init__(
        self, spec: ProjectorSpec, strategy: StrategyPolicy, *, projector_out: BinaryIO, state_out: BinaryIO
    ) -> None:
        kept = kept_spec(spec, strategy)
        self._projector = PayloadWriter(projector_out, spec)
        self._state = PayloadWriter(state_out, kept) if kept else None

    def put(self, block: SteppedBlock) -> None:
        """Writes one block."""
        self._projector.put(block.tensor, block.start, block.values)
        if self._state:
            for slot, part in block.slots.items():
                self._state.put(f"{slot}/{block.tensor}", block.start, part)

    def keep(self, tensor: str, values: F32) -> None:
        """Writes one whole tensor of the rule's own state."""
        if self._state:
            self._state.put(tensor, 0, values)

    def finish(self) -> Aggregated:
        """Flushes both files and says what they hold."""
        return Aggregated(self._projector.finish(), self._state.finish() if self._state else None)


def check_strategy(federation: Federation, spec: ProjectorSpec) -> None:
    """Checks, when a federation is created, that its strategy can be carried out in every round it allows.

    Raises:
        FederationInvalid: The rule or server optimizer does not exist, has wrong options, would be left with too few
            contributions, or keeps a state whose tensors make no valid spec; says which.
    """
    strategy = federation.strategy
    check_rule(strategy.rule, federation.participation, pre_steps=strategy.pre_steps)
    choice = strategy.server_optimizer
    slots = build_server_optimizer(choice).slots
    try:
        if kept := kept_spec(spec, strategy):
            layout(kept, Encoding.FP32)
    except SpecMismatch as error:
        raise FederationInvalid(
            f"strategy.server_optimizer: {choice.name} keeps {len(slots)} tensors for each of the projector's, and "
            f"these, with those of strategy.rule, cannot be stored: {error}"
        ) from error


def kept_spec(spec: ProjectorSpec, strategy: StrategyPolicy) -> ProjectorSpec | None:
    """The spec of what a strategy keeps, the server optimizer's and the rule's; None: nothing.

    Raises:
        FederationInvalid, SpecMismatch: As `check_strategy`, `state_spec`.
    """
    slots, rule = build_server_optimizer(strategy.server_optimizer).slots, build_matrix_rule(strategy.rule)
    tensors = (*(state_spec(spec, slots).tensors if slots else ()), *(rule.state(spec) if rule else ()))
    return ProjectorSpec(tuple(sorted(tensors, key=lambda tensor: tensor.name))) if tensors else None


def state_spec(spec: ProjectorSpec, slots: dict[str, float]) -> ProjectorSpec:
    """The spec of a server optimizer's state: every tensor of the projector once for each slot, as "slot/tensor".

    Raises:
        SpecMismatch: There would be too many tensors, or a name would be too long.
    """
    return ProjectorSpec(
        tuple(
            TensorSpec(f"{slot}/{tensor.name}", tensor.dtype, tensor.shape)
            for slot in sorted(slots)
            for tensor in spec.tensors
        )
    )


def aggregate(
    inputs: RoundInputs,
    strategy: StrategyPolicy,
    *,
    memory_budget_bytes: int,
    projector_out: BinaryIO,
    state_out: BinaryIO,
) -> Aggregated:
    """Combines the roster's deltas, steps the server optimizer, and writes what it gives.

    The bytes written are a function of `inputs` and `strategy` alone: no budget, block size, thread count or time
    changes them. Nothing is written to `state_out` when the server optimizer keeps no state.

    Args:
        inputs: What the round starts from and its roster.
        strategy: Of the federation.
        memory_budget_bytes: What the arithmetic may hold at once.
        projector_out: An empty file open for reading and writing ("w+b"), seekable; flushed at the end, not closed.
        state_out: Likewise.

    Raises:
        FederationInvalid: The strategy names no rule or server optimizer, or gives it wrong options.
        ConfigInvalid: The budget is too small for so many deltas; says the least that is enough.
        InvariantBroken: A payload gave fewer bytes than it has, or the next projector would not be finite.
        SumRefused: The sum of masked deltas did not open, or its mean is too large; what was written is nothing.
    """
    writer = AggregateWriter(inputs.spec, strategy, projector_out=projector_out, state_out=state_out)
    for block in stepped_blocks(inputs, strategy, memory_budget_bytes=memory_budget_bytes, keep=writer.keep):
        writer.put(block)
    return writer.finish()


def stepped_blocks(
    inputs: RoundInputs,
    strategy: StrategyPolicy,
    *,
    memory_budget_bytes: int,
    within: Range | None = None,
    keep: Callable[[str, F32], None] | None = None,
) -> Iterator[SteppedBlock]:
    """What `aggregate` writes, block by block; a block is gone once the next is asked for.

    Args:
        inputs: See `aggregate`.
        strategy: See `aggregate`.
        memory_budget_bytes: See `aggregate`.
        within: The range of the projector that is computed; None: all. Of less than all only with a rule that is
            coordinate-wise (`aggregator.rules.RuleEntry`): others would decide by this range alone.
        keep: Told of each tensor of the rule's own state, whole, before the first block; None: there is none.

    Raises:
        FederationInvalid, ConfigInvalid, InvariantBroken: As `aggregate`.
    """
    optimizer, matrix_rule = build_server_optimizer(strategy.server_optimizer), build_matrix_rule(strategy.rule)
    for_matrices = memory_budget_bytes - memory_budget_bytes // BLOCKS_SHARE if matrix_rule else 0
    length = block_length(
        len(inputs.deltas),
        memory_budget_bytes=memory_budget_bytes,
        reserved_bytes=for_matrices + held_bytes(strategy, num_silos=len(inputs.deltas)),
    )
    rule = (
        _of_matrices(matrix_rule, inputs, strategy, budget_bytes=memory_budget_bytes, keep=keep)
        if matrix_rule
        else build_rule(strategy.rule)
    )
    combined = (
        opened_blocks(inputs.masked, inputs.spec, length=length)
        if inputs.masked
        else _combined(_roster(inputs, strategy, length=length, within=within), strategy, rule)
    )
    owned = walk_payloads(inputs.spec, _owned(inputs, strategy), encoding=Encoding.FP32, length=length, within=within)
    for block, own in zip(combined, owned, strict=True):
        values, slots = _step(optimizer, block, own)
        yield SteppedBlock(own.tensor, own.start, values, slots)


def _roster(inputs: RoundInputs, strategy: StrategyPolicy, *, length: int, within: Range | None) -> RosterBlocks:
    """The deltas as blocks, discounted for their staleness."""
    roster = RosterBlocks(
        inputs.num_examples,
        lambda: walk_payloads(inputs.spec, inputs.deltas, encoding=inputs.encoding, length=length, within=within),
        seed=inputs.seed,
    )
    return discounted(roster, inputs.staleness, exponent=strategy.staleness_discount)


def held_bytes(strategy: StrategyPolicy, *, num_silos: int) -> int:
    """What the pre-steps and the rule hold beside the blocks; a rule that is coordinate-wise nothing."""
    alone = entry_of(strategy.rule.name).coordinate_wise and not strategy.pre_steps
    return 0 if alone else scratch_bytes(num_silos)


def _of_matrices(
    rule: MatrixRule,
    inputs: RoundInputs,
    strategy: StrategyPolicy,
    *,
    budget_bytes: int,
    keep: Callable[[str, F32], None] | None,
) -> Rule:
    """A rule that sees matrices as one that sees blocks alone: what else it needs and gives is bound to it here."""

    def combine(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        stored, own = kept_spec(inputs.spec, strategy), rule.state(inputs.spec)
        state = tensors_of(inputs.state, stored, own) if inputs.state and stored else {}
        combined = rule.combine(roster, MatrixRound(inputs.spec, inputs.projector, state, budget_bytes))
        if keep:
            for tensor in own:
                keep(tensor.name, combined.state[tensor.name])
        yield from combined.blocks

    return combine


def _combined(roster: RosterBlocks, strategy: StrategyPolicy, rule: Rule) -> Iterator[CombinedBlock]:
    """What pre-steps and rule give, without numpy's warnings: what is not finite is refused, by name."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in build_pre_steps(strategy.pre_steps):
            roster = step(roster)
        blocks = iter(rule(roster))
    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            block = next(blocks, None)
        if block is None:
            return
        yield block


def _owned(inputs: RoundInputs, strategy: StrategyPolicy) -> list[Payload]:
    """The projector, then each slot of the server optimizer's state, sorted: each as a payload of the projector's spec.

    A slot's tensors lie together in the state's payload and in the projector's order, since their names differ by the
    same prefix.
    """
    first = build_server_optimizer(strategy.server_optimizer).slots
    stored = kept_spec(inputs.spec, strategy)
    if inputs.state is None or stored is None:
        return [inputs.projector, *(Payload(_constant(first[slot]), 0) for slot in sorted(first))]
    begins = {span.tensor.name: span.start for span in spans(stored, Encoding.FP32)}
    read, start = inputs.state.read, inputs.state.data_start_bytes
    names = [f"{slot}/{inputs.spec.tensors[0].name}" for slot in sorted(first)]
    return [inputs.projector, *(Payload(read, start + begins[name]) for name in names)]


def _constant(value: float) -> Reader:
    """Reads as float32 values that are all `value`."""
    item = encode(np.array([value], np.float32), Encoding.FP32)
    return lambda _offset_bytes, size_bytes: item * (size_bytes // len(item))


def _step(optimizer: ServerOptimizer, combined: CombinedBlock, own: Block) -> tuple[F32, State]:
    if (combined.tensor, combined.start, len(combined.values)) != (own.tensor, own.start, own.values.shape[1]):
        raise InvariantBroken(f"The rule left the blocks' order at {own.tensor}[{own.start}].")
    state = dict(zip(sorted(optimizer.slots), own.values[1:], strict=True))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below, by name
        values, state = optimizer.apply(own.values[0], combined.values, state)
    if not all(np.isfinite(part).all() for part in (values, *state.values())):
        raise InvariantBroken(
            f"The next projector, or the server optimizer's state, would hold NaN or infinity in {own.tensor}; nothing "
            "is published. The learning rate of strategy.server_optimizer or admission.max_l2_norm is far too large."
        )
    return values, state
