"""What happened to the pushes of one silo to one round: an append-only chain of records.

Record n carries the SHA-256 of record n-1, so a record cannot be changed or taken out without breaking those after it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aggregator.canonical import Fields, canonical, from_instant
from aggregator.stores import Store

MAX_RECORDS = 256
"""Most records of one silo and round; a silo that goes on pushing refused deltas does not fill the store."""

REFUSED = "delta.refused"
"""The value of an event's key "event" that says a push was refused; "message" then says why."""


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


def refusal(record: AuditRecord) -> str:
    """The text of a record whose event has `"event": "delta.refused"`; empty for any other."""
    event = record.fields["event"]
    return str(event.get("message", "refused")) if event.get("event") == REFUSED else ""


def _read(store: Store, key: str) -> AuditRecord:
    document = store.get(key)
    fields: Fields = json.loads(document)
    return AuditRecord(sequence=fields["sequence"], fields=fields, digest=hashlib.sha256(document).hexdigest())
