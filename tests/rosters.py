"""Rosters for tests: values from a hash (no library's random stream can change them), payloads in memory."""

import hashlib
import io
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.aggregate import Aggregated, RoundInputs, aggregate
from aggregator.blocks import GRAIN, Payload, RosterBlocks, Rule, open_payload, walk_payloads
from isthmus.codec import F32, encode_tensors
from isthmus.contribution import Encoding
from isthmus.federation import Choice, StrategyPolicy
from isthmus.payload import header_bytes
from isthmus.spec import ProjectorSpec, TensorSpec

TINY = ProjectorSpec((TensorSpec("linear_1.bias", "F32", (3,)), TensorSpec("linear_1.weight", "F32", (3, 2))))
"""A projector whose numbers a person can follow."""

WIDE = ProjectorSpec(
    (
        TensorSpec("a.scale", "F32", ()),
        TensorSpec("b.weight", "F32", (41, 97)),
        TensorSpec("c.bias", "F32", (7,)),
        TensorSpec("d.weight", "F32", (3, GRAIN)),
    )
)
"""A projector of several blocks, most of whose edges lie on no round number."""


MEAN, SGD = Choice(name="mean"), Choice(name="sgd")
"""The strategy that is FedAvg."""


def values(name: str, count: int, *, scale: float = 1.0) -> F32:
    """`count` float32 values in [-scale, scale) that follow from `name` alone."""
    stream = hashlib.shake_256(name.encode()).digest(4 * count)
    return (np.frombuffer(stream, "<i4").astype(np.float64) * (scale / 2**31)).astype(np.float32)


def deltas(num_silos: int, spec: ProjectorSpec, *, name: str = "delta") -> list[F32]:
    """One flat delta for each silo, all different."""
    return [values(f"{name}-{silo}", spec.num_elements, scale=0.1) for silo in range(num_silos)]


def payload_bytes(flat: F32, spec: ProjectorSpec, encoding: Encoding = Encoding.FP32) -> bytes:
    """The payload of these values, tensor after tensor."""
    edges = np.cumsum([tensor.num_elements for tensor in spec.tensors])[:-1]
    return header_bytes(spec, encoding) + b"".join(encode_tensors(np.split(flat, edges), encoding))


def payload(data: bytes) -> Payload:
    """A payload in memory."""
    return open_payload(lambda offset_bytes, size_bytes: data[offset_bytes : offset_bytes + size_bytes])


def roster(
    flat: Sequence[F32],
    *,
    spec: ProjectorSpec = TINY,
    num_examples: Iterable[float] = (),
    length: int = GRAIN,
    seed: bytes = b"",
) -> RosterBlocks:
    """The blocks of these flat deltas, read from payloads as the aggregator reads them; num_examples are 1, 2, 3..."""
    payloads = [payload(payload_bytes(one, spec)) for one in flat]
    return RosterBlocks(
        tuple(num_examples) or tuple(range(1, len(flat) + 1)),
        lambda: walk_payloads(spec, payloads, encoding=Encoding.FP32, length=length),
        seed=seed,
    )


def rows(blocks: RosterBlocks) -> F32:
    """The deltas of a roster, whole: float32 [num_silos, num_elements]."""
    return np.concatenate([block.values.copy() for block in blocks], axis=1)


def combine(rule: Rule, blocks: RosterBlocks) -> F32:
    """All that the rule gives, one block after the other."""
    return np.concatenate([block.values.copy() for block in rule(blocks)])


@dataclass(frozen=True)
class Round:
    """What one call of `aggregate` wrote and said."""

    projector: bytes
    state: bytes
    result: Aggregated


def run_round(
    flat: Sequence[F32],
    *,
    base: bytes,
    spec: ProjectorSpec = TINY,
    num_examples: Sequence[int] = (),
    state: bytes = b"",
    rule: Choice = MEAN,
    optimizer: Choice = SGD,
    pre_steps: Sequence[Choice] = (),
    encoding: Encoding = Encoding.FP32,
    seed: bytes = b"",
    memory_budget_bytes: int = 64 * 1024 * 1024,
) -> Round:
    """Aggregates these flat deltas onto the projector `base`."""
    projector_out, state_out = io.BytesIO(), io.BytesIO()
    inputs = RoundInputs(
        spec=spec,
        encoding=encoding,
        projector=payload(base),
        state=payload(state) if state else None,
        deltas=tuple(payload(payload_bytes(one, spec, encoding)) for one in flat),
        num_examples=tuple(num_examples) or tuple(range(1, len(flat) + 1)),
        seed=seed,
    )
    result = aggregate(
        inputs,
        StrategyPolicy(pre_steps=tuple(pre_steps), rule=rule, server_optimizer=optimizer),
        memory_budget_bytes=memory_budget_bytes,
        projector_out=projector_out,
        state_out=state_out,
    )
    return Round(projector_out.getvalue(), state_out.getvalue(), result)


def values_of(data: bytes, count: int) -> F32:
    """The last `count` float32 values of a payload."""
    return np.frombuffer(data[-4 * count :], "<f4").astype(np.float32)


def peak_bytes(inputs: RoundInputs, strategy: StrategyPolicy, *, budget_bytes: int, folder: Path) -> int:
    """The most memory that one round's arithmetic holds at once, written to files in the folder."""
    with (folder / "projector").open("w+b") as projector_out, (folder / "state").open("w+b") as state_out:
        tracemalloc.start()
        aggregate(inputs, strategy, memory_budget_bytes=budget_bytes, projector_out=projector_out, state_out=state_out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak
