"""The SDK: what a silo needs to take part in a federation.

Signatures first; the bodies follow within the hour.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from isthmus.contribution import ContributionHeader, Receipt
from isthmus.round import PushStatus, Round
from isthmus.tensors import Payload, Progress


class SiloClient:
    """One silo's connection to one federation. Not for several threads at once."""

    def __init__(
        self,
        address: str,
        *,
        federation: str,
        credentials: str | Path,
        patience_seconds: float = 600.0,
        deadline_seconds: float = 30.0,
        progress: Progress | None = None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""

    def round(self, *, after_round: int = 0, wait_seconds: float = 0.0) -> Round:
        """The open round, at once or once it is later than `after_round`, whichever comes within `wait_seconds`."""
        raise NotImplementedError

    def rounds(self) -> Iterator[Round]:
        """Every round this silo has not contributed to, as it opens, each once; ends when finished."""
        raise NotImplementedError

    def pull(self, round: Round) -> dict[str, torch.Tensor]:
        """The global projector that the round starts from: float32 on the CPU, the caller's to change."""
        raise NotImplementedError

    def push(
        self,
        round: Round,
        local: Mapping[str, torch.Tensor],
        *,
        num_examples: int,
        metrics: Mapping[str, float] | None = None,
    ) -> Receipt:
        """Pushes delta = local - base in the round's encoding; returns when it is durable and counted."""
        raise NotImplementedError

    def push_payload(self, header: ContributionHeader, payload: Payload | Path | bytes) -> Receipt:
        """Pushes an encoded delta, for example a file of an outbox; continues where an earlier push of it broke."""
        raise NotImplementedError

    def push_status(self, round_number: int, payload_digest: bytes) -> PushStatus:
        """How much of a push the aggregator holds, and its receipt once it is counted."""
        raise NotImplementedError
