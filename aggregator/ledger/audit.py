"""What happened to the pushes of one silo to one round: an append-only chain of records.

Record n carries the SHA-256 of record n-1, so a record cannot be changed or taken out without breaking those after it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aggregator.ledger.canonical import Fields, canonical, from_instant
from aggregator.ledger.documents import Contribution
from aggregator.stores import Store
from isthmus.errors import IsthmusError

MAX_RECORDS = 256
"""Most records of one silo and round; a silo that goes on pushing refused deltas does not fill the store."""

ADMITTED = "delta.admitted"
REFUSED = "delta.refused"
"""The values of an event's key "event", the same as in the log."""

_MAX_TEXT = 2000
"""Characters kept of a refusal's text: some of it is what a silo sent."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record as it is stored; `digest` is what the next record carries as `previous`."""

    sequence: int
    fields: dict[str, Any]  # whatever JSON holds: the event is the caller's
    digest: str


def append(store: Store, prefix: str, *, event: Fields, now: datetime) -> bool:
    """Adds a record behind the last one; False, and nothing added, once there are `MAX_RECORDS`.

    Racing appends of several replicas all end up in the chain, in some order.
    """
    while True:
        record = last(store, prefix)
        sequence = record.sequence + 1 if record else 0
        if sequence >= MAX_RECORDS:
            return False
        previous = record.digest if record else ""
        document = canonical({"at": from_instant(now), "event": event, "previous": previous, "sequence": sequence})
        if store.put_if_absent(f"{prefix}/{sequence:03d}.json", document):
            return True


def last(store: Store, prefix: str) -> AuditRecord | None:
    """The newest record; None where there is none."""
    keys = [entry.key for entry in store.list(prefix)]
    return _read(store, keys[-1]) if keys else None


def records(store: Store, prefix: str) -> list[AuditRecord]:
    """All records, oldest first."""
    return [_read(store, entry.key) for entry in store.list(prefix)]


def first_broken_link(chain: Sequence[AuditRecord]) -> int | None:
    """The sequence at which the chain was tampered with; None when it is whole."""
    previous = ""
    for sequence, record in enumerate(chain):
        if record.sequence != sequence or record.fields["previous"] != previous:
            return sequence
        previous = record.digest
    return None


def refused(refusal: IsthmusError) -> Fields:
    """The event of a push that was refused."""
    return {
        "details": {key: value[:_MAX_TEXT] for key, value in refusal.details.items()},
        "event": REFUSED,
        "message": str(refusal)[:_MAX_TEXT],
        "reason": refusal.reason,
    }


def admitted(contribution: Contribution) -> Fields:
    """The event of a push that was admitted and counted."""
    return {
        "contribution_digest": contribution.digest.hex(),
        "event": ADMITTED,
        "l2_norm": contribution.l2_norm,
        "num_examples": contribution.header.num_examples,
        "payload_digest": contribution.header.payload_digest.hex(),
    }


def refusal_of(record: AuditRecord) -> str:
    """Why the push of this record was refused; empty when it was not."""
    event = record.fields["event"]
    return str(event["message"]) if event["event"] == REFUSED else ""


def _read(store: Store, key: str) -> AuditRecord:
    document = store.get(key)
    fields: Fields = json.loads(document)
    return AuditRecord(sequence=fields["sequence"], fields=fields, digest=hashlib.sha256(document).hexdigest())
