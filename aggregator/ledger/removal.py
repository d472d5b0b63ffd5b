"""What is left in the store of deltas whose time was up: the record that they were removed. Talks to a store only.

The record is created before the first byte goes, so whoever finds bytes missing finds out why; it is never overwritten.
"""

from dataclasses import dataclass
from datetime import datetime

from aggregator.ledger import keys, once
from aggregator.ledger.canonical import Fields, canonical, fields_of, from_instant, to_instant
from aggregator.ledger.documents import Contribution
from aggregator.stores import Entry, Store


@dataclass(frozen=True, slots=True)
class Removal:
    """The record that a round's deltas were removed: from here on their digests alone tell what they were.

    Attributes:
        round: Which round.
        removed_at: When the removal began.
        removed_by: Who removed them: a replica by itself, or an operator.
        reason: Why, in one sentence.
        num_segments: How many staged segments the round had then.
        size_bytes: Of all of them.
    """

    round: int
    removed_at: datetime
    removed_by: str
    reason: str
    num_segments: int
    size_bytes: int

    def to_json(self) -> bytes:
        """The document `removed.json`."""
        fields: Fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return canonical(fields | {"removed_at": from_instant(self.removed_at)})

    @classmethod
    def from_json(cls, document: bytes) -> "Removal":
        """The record that `to_json` wrote."""
        fields: Fields = fields_of(document)
        return cls(**fields | {"removed_at": to_instant(fields["removed_at"])})


def find(store: Store, federation: str, round_number: int) -> Removal | None:
    """The record that the round's deltas were removed; None while they are kept."""
    document = once.find(store, keys.removal(federation, round_number))
    return Removal.from_json(document) if document is not None else None


def mark(store: Store, federation: str, removal: Removal) -> Removal:
    """Puts on record that a round's deltas are removed; the record that stands."""
    key = keys.removal(federation, removal.round)
    return Removal.from_json(once.stand(store, key, removal.to_json()))


def staged(store: Store, federation: str, round_number: int) -> list[Entry]:
    """Everything that is staged for a round, sorted by key."""
    return list(store.list(keys.uploads(federation, round_number)))


def gone(store: Store, contribution: Contribution) -> str:
    """Says, in one sentence, that bytes of a contribution are not there, and since when where that is on record."""
    header = contribution.header
    record = find(store, header.federation, header.round)
    what = f"Federation {header.federation}, round {header.round}: bytes of the delta of silo {contribution.silo} are"
    return f"{what} removed, since {from_instant(record.removed_at)}." if record else f"{what} gone from the store."
