"""The server's side of a federation: the product's own arithmetic over payloads in memory; no wire, no store."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from aggregator.aggregate import RoundInputs, aggregate
from aggregator.blocks import Payload, open_payload
from isthmus.codec import F32, decode, encode
from isthmus.contribution import Encoding
from isthmus.federation import StrategyPolicy
from isthmus.payload import header_bytes
from isthmus.spec import ProjectorSpec, spec_of

BUDGET_BYTES = 1 << 28

Tensors = dict[str, torch.Tensor]


class Server:
    """Holds the global projector, and what the strategy publishes with it.

    Args:
        projector: The initial one.
        strategy: The federation's.
    """

    def __init__(self, projector: Mapping[str, torch.Tensor], strategy: StrategyPolicy) -> None:
        self.spec = spec_of(projector)
        self._strategy = strategy
        self._projector = payload_of(flat(projector, self.spec), self.spec)
        self._state = b""
        self._round = 0

    @property
    def projector(self) -> Tensors:
        """The global projector; a copy."""
        values = decode(self._projector[len(header_bytes(self.spec, Encoding.FP32)) :], Encoding.FP32)
        return tensors_of(values, self.spec)

    def step(self, deltas: Sequence[F32], num_examples: Sequence[int]) -> None:
        """Publishes the next global projector.

        Args:
            deltas: Flat, float32 [num_elements] each, in roster order.
            num_examples: Of each.

        Raises:
            FederationInvalid, InvariantBroken: As `aggregator.aggregate.aggregate`.
        """
        self._round += 1
        projector_out, state_out = io.BytesIO(), io.BytesIO()
        inputs = RoundInputs(
            spec=self.spec,
            encoding=Encoding.FP32,
            projector=_opened(self._projector),
            state=_opened(self._state) if self._state else None,
            deltas=tuple(_opened(payload_of(delta, self.spec)) for delta in deltas),
            num_examples=tuple(num_examples),
            seed=f"round {self._round}".encode(),
        )
        aggregate(
            inputs,
            self._strategy,
            memory_budget_bytes=BUDGET_BYTES,
            projector_out=projector_out,
            state_out=state_out,
        )
        self._projector, self._state = projector_out.getvalue(), state_out.getvalue()


def flat(tensors: Mapping[str, torch.Tensor], spec: ProjectorSpec) -> F32:
    """All values, float32 [num_elements], tensor after tensor in the spec's order."""
    return np.concatenate([tensors[tensor.name].numpy().ravel() for tensor in spec.tensors])


def tensors_of(values: F32, spec: ProjectorSpec) -> Tensors:
    """The opposite of `flat`; a copy."""
    found: Tensors = {}
    start = 0
    for tensor in spec.tensors:
        part = values[start : start + tensor.num_elements].reshape(tensor.shape)
        found[tensor.name] = torch.from_numpy(part.copy())
        start += tensor.num_elements
    return found


def payload_of(values: F32, spec: ProjectorSpec) -> bytes:
    """The payload of these flat values."""
    return header_bytes(spec, Encoding.FP32) + encode(values, Encoding.FP32)


def _opened(data: bytes) -> Payload:
    return open_payload(lambda offset_bytes, size_bytes: data[offset_bytes : offset_bytes + size_bytes])
