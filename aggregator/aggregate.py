"""One round's arithmetic from end to end: roster in, next global projector out, block by block.

Knows rules, server optimizers and where values lie in a payload; reads and writes through what it is given.
"""

from dataclasses import dataclass
from typing import BinaryIO

from aggregator.blocks import Payload
from isthmus.contribution import Encoding
from isthmus.federation import StrategyPolicy
from isthmus.spec import ProjectorSpec


@dataclass(frozen=True, slots=True)
class RoundInputs:
    """Everything that decides the next global projector.

    Attributes:
        spec: What the projector looks like.
        encoding: Of the deltas.
        projector: The global projector that the round starts from, float32.
        state: The server optimizer's state published with it; None before its first step.
        deltas: The roster's payloads, in roster order; at least one.
        num_examples: Aggregation weight of each, at least 1.
    """

    spec: ProjectorSpec
    encoding: Encoding
    projector: Payload
    state: Payload | None
    deltas: tuple[Payload, ...]
    num_examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """One file that was written whole.

    Attributes:
        digest: SHA-256 of its bytes, 32 bytes.
        size_bytes: How many; at least 1.
    """

    digest: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The next global projector and the server optimizer's state to publish with it (None: it keeps none)."""

    projector: Written
    state: Written | None


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
    """
    raise NotImplementedError
