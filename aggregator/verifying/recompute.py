"""One round's arithmetic again, from stored bytes alone: what its manifest must say, and how far its values may lie."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aggregator.aggregate import aggregate
from aggregator.blocks import GRAIN, Payload, Reader, open_payload, walk_payloads
from aggregator.gate import Verdict
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Contribution, Roster
from aggregator.masked_sums import SumRefused
from aggregator.publication import inputs_of, manifest_of
from isthmus.contribution import Encoding
from isthmus.manifest import ProjectorManifest
from isthmus.payload import MAX_HEADER_BYTES, PREFIX_BYTES
from isthmus.payload_header import read_spec

_BLOCK_VALUES = 64 * GRAIN
"""Compared at once where a rule declares a tolerance."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What a roster gives, computed here and now.

    Attributes:
        manifest: All of it.
        deviation: Where the rule declares a tolerance and digests differ: how far the published values lie from those
            computed now, see `deviation`. Else 0.
    """

    manifest: ProjectorManifest
    deviation: float = 0.0


def recomputed(
    ledger: Ledger,
    roster: Roster,
    contributions: list[Contribution],
    *,
    verdict: Verdict,
    memory_budget_bytes: int,
    scratch: Path,
) -> Recomputed:
    """Combines a roster and steps the server optimizer once more.

    Args:
        ledger: Where the deltas and the projector before stand.
        roster: Of a round that was combined and whose projector is published.
        contributions: The roster's, in its order.
        verdict: Of the roster on the projector that it started from.
        memory_budget_bytes: What the arithmetic may hold at once.
        scratch: A folder with room for a projector and an optimizer's state.

    Raises:
        InvariantBroken: What comes out is not finite.
        ConfigInvalid: The budget is too small for the roster.
    """
    name = roster.federation
    record, published = ledger.federation(name), ledger.manifest(name, roster.round)
    base = ledger.manifest(name, roster.round - 1)
    with tempfile.TemporaryFile(dir=scratch) as projector, tempfile.TemporaryFile(dir=scratch) as state:
        aggregated, refused = None, ""
        try:
            aggregated = aggregate(
                inputs_of(ledger, record, base, contributions=contributions),
                record.federation.strategy,
                memory_budget_bytes=memory_budget_bytes,
                projector_out=projector,
                state_out=state,
            )
        except SumRefused as error:
            refused = str(error)
        manifest = manifest_of(
            record, base, roster, aggregated=aggregated, contributions=contributions, verdict=verdict, refused=refused
        )
        if not manifest.tolerance:
            return Recomputed(manifest)
        pairs = [(published.digest, manifest.digest, projector)]
        pairs += [(published.optimizer_state_digest, manifest.optimizer_state_digest, state)] * bool(
            aggregated and aggregated.state
        )
        distances = [deviation(ledger.blob(name, was), now) for was, is_now, now in pairs if was != is_now]
    return Recomputed(manifest, max(distances, default=0.0))


def deviation(published: Reader, computed: BinaryIO) -> float:
    """The largest distance of a published value from the one computed now, as a share of its tensor's largest value.

    Infinite where they are no payloads of the same tensors, or a tensor that is zero now was not.

    Args:
        published: Reads the published payload.
        computed: The payload computed now, float32.
    """

    def read(offset_bytes: int, size_bytes: int) -> bytes:
        computed.seek(offset_bytes)
        return computed.read(size_bytes)

    spec = read_spec(read(0, MAX_HEADER_BYTES + PREFIX_BYTES), payload_size_bytes=computed.seek(0, 2))
    head_bytes = open_payload(read).data_start_bytes
    if published(0, head_bytes) != read(0, head_bytes):
        return math.inf
    distances: dict[str, float] = {}
    largest: dict[str, float] = {}
    payloads = (Payload(published, head_bytes), Payload(read, head_bytes))
    for block in walk_payloads(spec, payloads, encoding=Encoding.FP32, length=_BLOCK_VALUES):
        was, now = block.values.astype(np.float64)
        distances[block.tensor] = max(distances.get(block.tensor, 0.0), float(np.abs(was - now).max()))
        largest[block.tensor] = max(largest.get(block.tensor, 0.0), float(np.abs(now).max()))
    shares = (
        distance / largest[name] if largest[name] else math.inf for name, distance in distances.items() if distance
    )
    return max(shares, default=0.0)
