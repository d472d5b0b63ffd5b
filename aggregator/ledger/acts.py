"""Who did what to a federation: a chain of what operators and enrolling sites asked for. Talks to a store only.

A record is written before the act it tells of is carried out: so no act is without one, and one whose process died in
between tells of an act that was asked for and can be asked for again. Record n carries the SHA-256 of record n-1.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from aggregator.ledger import chain, keys
from aggregator.ledger.canonical import Fields, canonical, fields_of, from_instant, to_instant
from aggregator.ledger.chain import Place
from aggregator.stores import Store

MAX_TEXT = 256
"""Characters kept of one detail: some of it is what a caller sent."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act.

    Attributes:
        at: When it was asked for.
        actor: Who asked: a SPIFFE URI.
        event: What for, by the name that the log has for it.
        silo: Whom it is about; "": the whole federation.
        details: More about it, as text.
    """

    at: datetime
    actor: str
    event: str
    silo: str = ""
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActRecord:
    """An act as it is stored; `digest` is what the next one carries as `previous`."""

    act: Act
    sequence: int
    previous: str
    digest: str

    @classmethod
    def from_json(cls, document: bytes) -> "ActRecord":
        """The record of a stored document."""
        fields: Fields = fields_of(document)
        sequence, previous = fields.pop("sequence"), fields.pop("previous")
        fields.pop("federation")
        act = Act(**fields | {"at": to_instant(fields["at"])})
        return cls(act, sequence, previous, hashlib.sha256(document).hexdigest())


def append(store: Store, federation: str, act: Act, *, after: Place | None = None) -> Place:
    """Adds an act behind the last one. Racing appends of several replicas all end up in the chain, in some order.

    Gives the place behind it; see `chain.append` for what a later append has of that as `after`.
    """
    place = chain.append(
        store,
        keys.acts(federation),
        key=lambda sequence: keys.act(federation, sequence),
        document=lambda place: act_document(federation, act, place=place),
        after=after,
    )
    assert place is not None, "acts have no limit"  # nosec B101  # for the type alone
    return place


def act_document(federation: str, act: Act, *, place: Place) -> bytes:
    """The record of an act."""
    return canonical(
        {
            "actor": act.actor,
            "at": from_instant(act.at),
            "details": {name: value[:MAX_TEXT] for name, value in act.details.items()},
            "event": act.event,
            "federation": federation,
            "previous": place.previous,
            "sequence": place.sequence,
            "silo": act.silo,
        }
    )


def acts(store: Store, federation: str) -> Iterator[ActRecord]:
    """Every act, in order.

    Raises (when it reads):
        InvariantBroken: A record is damaged.
    """
    return (ActRecord.from_json(store.get(key)) for _, key in chain.numbered(store, keys.acts(federation)))


def head(store: Store, federation: str) -> str:
    """Hex SHA-256 of the last record; "" where there is none."""
    return chain.head(store, keys.acts(federation))
