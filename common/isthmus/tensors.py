"""Between torch tensors and payload bytes. Signatures first; the bodies follow within the hour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from isthmus.contribution import ContributionHeader, Encoding
from isthmus.round import Round
from isthmus.spec import ProjectorSpec

Progress = Callable[[str, int, int], None]
"""Called with ("pull" or "push", bytes done, bytes in all)."""


@dataclass(frozen=True, slots=True)
class Payload:
    """An encoded delta or projector: its bytes as parts to be written or sent in order, never joined in memory."""

    parts: tuple[memoryview, ...]
    size_bytes: int
    digest: bytes


def encode(tensors: Mapping[str, torch.Tensor], spec: ProjectorSpec, encoding: Encoding) -> Payload:
    """The tensors as a payload of the spec in the encoding."""
    raise NotImplementedError


def decode(data: bytearray, spec: ProjectorSpec) -> dict[str, torch.Tensor]:
    """The float32 tensors of a projector's bytes; views of `data`, which must stay unchanged."""
    raise NotImplementedError


def contribution_of(
    round: Round,
    *,
    local: Mapping[str, torch.Tensor],
    base: Mapping[str, torch.Tensor],
    num_examples: int,
    metrics: Mapping[str, float] | None = None,
) -> tuple[ContributionHeader, Payload]:
    """The header and payload of delta = local - base, checked as far as a silo can: what an outbox keeps."""
    raise NotImplementedError
