"""One round's arithmetic again, from stored bytes alone: what its manifest must say."""

import tempfile
from pathlib import Path

from aggregator.advance import inputs_of, manifest_of
from aggregator.aggregate import aggregate
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Contribution, Roster
from isthmus.manifest import ProjectorManifest


def recomputed(
    ledger: Ledger, roster: Roster, contributions: list[Contribution], *, memory_budget_bytes: int, scratch: Path
) -> ProjectorManifest:
    """The manifest that a roster gives.

    Args:
        ledger: Where the deltas and the projector before stand.
        roster: Of a round that was cut.
        contributions: The roster's, in its order.
        memory_budget_bytes: What the arithmetic may hold at once.
        scratch: A folder with room for a projector and an optimizer's state.

    Raises:
        InvariantBroken: Stored bytes are missing.
    """
    record = ledger.federation(roster.federation)
    base = ledger.manifest(roster.federation, roster.round - 1)
    with tempfile.TemporaryFile(dir=scratch) as projector, tempfile.TemporaryFile(dir=scratch) as state:
        aggregated = aggregate(
            inputs_of(ledger, record, base, contributions=contributions),
            record.federation.strategy,
            memory_budget_bytes=memory_budget_bytes,
            projector_out=projector,
            state_out=state,
        )
    return manifest_of(record, base, roster, aggregated=aggregated, contributions=contributions)
