"""What happened to the pushes of one silo to one round: a chain of refusals, and the record of what was admitted.

Refusal n carries the SHA-256 of refusal n-1, so none can be changed or taken out without breaking those after it. The
record of an admission follows from the contribution alone, byte for byte: whoever finds it missing can write it, and
nobody can write it twice or otherwise. The contribution is named by the roster, the roster by the manifest.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from aggregator.ledger import chain, keys
from aggregator.ledger.canonical import Fields, canonical, fields_of, from_instant, to_instant
from aggregator.ledger.chain import Place
from aggregator.ledger.documents import Contribution
from aggregator.stores import Store
from isthmus.errors import DeltaReplayed, InvariantBroken, IsthmusError, RefusedDelta

MAX_REFUSALS = 256
"""Most refusals on record of one silo and round: a silo that goes on pushing what is refused fills no store."""

ADMITTED = "delta.admitted"
REFUSED = "delta.refused"
"""The values of an event's key "event", the same as in the log."""

_REFUSED_DELTAS = frozenset(error.reason for error in RefusedDelta.__subclasses__()) | {DeltaReplayed.reason}
"""Reasons of refusals that are an answer to the round; a delta that came too late, or twice, is none."""

_MAX_TEXT = 2000
"""Characters kept of a refusal's text."""


@dataclass(frozen=True, slots=True)
class Trail:
    """Names what is on record of one silo's pushes to one round."""

    federation: str
    round: int
    silo: str

    def to_fields(self) -> Fields:
        """What every record of it says of itself."""
        return {"federation": self.federation, "round": self.round, "silo": self.silo}


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record as it is stored; `digest` is what the next refusal carries as `previous`."""

    fields: Fields
    digest: str

    @classmethod
    def from_json(cls, document: bytes) -> "AuditRecord":
        """The record of a stored document."""
        return cls(fields=fields_of(document), digest=hashlib.sha256(document).hexdigest())

    @property
    def at(self) -> datetime:
        """When it happened."""
        return to_instant(self.fields["at"])


def append_refusal(
    store: Store, trail: Trail, *, refusal: IsthmusError, now: datetime, known: Collection[str] = ()
) -> bool:
    """Adds a refusal behind the last one; False, and nothing added, once there are `MAX_REFUSALS`. See `chain.append`.

    Args:
        store: Where.
        trail: Whose push, to which round.
        refusal: Why it was refused.
        now: When.
        known: Of the words in it that the silo sent, those that may be kept; see `isthmus.foreign`.
    """
    place = chain.append(
        store,
        keys.audit(trail.federation, trail.round, trail.silo),
        key=lambda sequence: keys.refusal(trail.federation, trail.round, trail.silo, sequence=sequence),
        document=lambda place: refusal_document(trail, refusal, now=now, place=place, known=known),
        most=MAX_REFUSALS,
    )
    return place is not None


def refusal_document(
    trail: Trail, refusal: IsthmusError, *, now: datetime, place: Place, known: Collection[str] = ()
) -> bytes:
    """The record of a push that was refused."""
    event = {
        "details": {key: value[:_MAX_TEXT] for key, value in refusal.kept_details(known).items()},
        "event": REFUSED,
        "message": refusal.kept_text(known)[:_MAX_TEXT],
        "reason": refusal.reason,
    }
    link = {"at": from_instant(now), "event": event, "previous": place.previous, "sequence": place.sequence}
    return canonical(trail.to_fields() | link)


def admission_document(contribution: Contribution) -> bytes:
    """The record of a contribution: a function of it, whoever writes it and whenever."""
    event = {
        "contribution_digest": contribution.digest.hex(),
        "event": ADMITTED,
        "l2_norm": contribution.l2_norm,
        "num_examples": contribution.header.num_examples,
        "payload_digest": contribution.header.payload_digest.hex(),
    }
    return canonical(
        trail_of(contribution).to_fields() | {"at": from_instant(contribution.admitted_at), "event": event}
    )


def trail_of(contribution: Contribution) -> Trail:
    """Where a contribution is on record."""
    return Trail(contribution.header.federation, contribution.header.round, contribution.silo)


def record_admission(store: Store, contribution: Contribution) -> None:
    """Puts a contribution that stands on record; once, however often it is asked."""
    header = contribution.header
    key = keys.admission(header.federation, header.round, contribution.silo)
    store.put_if_absent(key, admission_document(contribution))


def admission(store: Store, trail: Trail) -> AuditRecord | None:
    """The record of what was admitted; None where there is none."""
    try:
        return _read(store, keys.admission(trail.federation, trail.round, trail.silo))
    except KeyError:
        return None


def last_refusal(store: Store, trail: Trail) -> str:
    """Why the last push was refused; empty when it was not, or there was none."""
    return str(_last_refused(store, trail).get("message", ""))


def was_refused(store: Store, trail: Trail) -> bool:
    """Whether the last push brought a delta that admission refused; one of a round that is over tells nothing."""
    return _last_refused(store, trail).get("reason", "") in _REFUSED_DELTAS


def last_refusals(store: Store, federation: str, round_number: int) -> dict[str, str]:
    """Hex SHA-256 of each silo's last refusal in a round, by the silo's name."""
    last: dict[str, str] = {}
    for entry in store.list(keys.audits(federation, round_number)):
        silo, _, name = entry.key.removeprefix(f"{keys.audits(federation, round_number)}/").partition("/")
        if name.removesuffix(".json").isdecimal():
            last[silo] = entry.key  # sorted: the last one stands
    return {silo: hashlib.sha256(store.get(key)).hexdigest() for silo, key in last.items()}


def _last_refused(store: Store, trail: Trail) -> Fields:
    """The event of the last push if it was refused, else nothing; nothing, too, where its record is damaged."""
    keys_of = [key for _, key in chain.numbered(store, keys.audit(trail.federation, trail.round, trail.silo))]
    if not keys_of:
        return {}
    try:
        last, admitted = _read(store, keys_of[-1]), admission(store, trail)
        return {} if admitted is not None and admitted.at >= last.at else dict(last.fields["event"])
    except InvariantBroken:
        return {}


def _read(store: Store, key: str) -> AuditRecord:
    return AuditRecord.from_json(store.get(key))
