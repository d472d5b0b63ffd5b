"""A federation's story: every act, refusal, admission, roster, publication and removal as one timeline. Reads alone."""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aggregator.ledger import Ledger, keys, removal
from aggregator.ledger.acts import ActRecord
from aggregator.ledger.audit import ADMITTED, REFUSED, AuditRecord
from aggregator.ledger.canonical import from_instant
from aggregator.ledger.documents import Roster, manifest_from_json
from aggregator.stores import Store, exists
from isthmus.errors import FederationUnknown, InvariantBroken
from isthmus.spec import NAME_PATTERN

ROSTER = "roster.fixed"
PUBLISHED = "projector.published"
ABANDONED = "round.abandoned"
REVERTED = "round.reverted"
REMOVED = "deltas.removed"
DAMAGED = "record.damaged"

EVENTS = (
    "federation.created",
    "federation.state_set",
    "silo.invited",
    "silo.enrolled",
    "silo.renewed",
    "silo.revoked",
    "silo.released",
    ADMITTED,
    REFUSED,
    ROSTER,
    PUBLISHED,
    ABANDONED,
    REVERTED,
    REMOVED,
    DAMAGED,
)
"""Every event of a story; the same names as in the log, where it has them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        key: The object in the store that tells it.
        at: When, by the clock of the aggregator that wrote it; None: its record is damaged.
        event: One of `EVENTS`.
        actor: Who did it: a SPIFFE URI, "silo NAME", or "aggregator".
        round: In which round; 0: in none.
        silo: Whom it is about; "": the federation.
        details: More about it: numbers and texts of the record.
    """

    key: str
    at: datetime | None
    event: str
    actor: str
    round: int = 0
    silo: str = ""
    details: dict[str, object] = field(default_factory=dict)

    def to_fields(self) -> dict[str, object]:
        """As JSON has it, one object an entry."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "at": self.at and from_instant(self.at)
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document stands: its key, and the round and the silo that the key names."""

    key: str
    round: int
    silo: str


Read = Callable[[Place, bytes], Entry]
"""From a document's place and bytes to what it tells."""


def story(ledger: Ledger, federation: str, *, told: Container[str] = ()) -> list[Entry]:
    """Everything, the oldest first; a record that is damaged stands at the end, as `DAMAGED`.

    Args:
        ledger: Where.
        federation: Which.
        told: Keys of what is known already: none of these is read.

    Raises:
        FederationUnknown: There is no such federation.
    """
    if not NAME_PATTERN.fullmatch(federation) or not exists(ledger.store, keys.federation_file(federation)):
        raise FederationUnknown(f"The store holds no federation {federation[:64]!r}. Check its name, and the store's.")
    prefix = keys.federation_prefix(federation)
    listed = (
        one.key for folder in ("audit", "rounds", "projectors") for one in ledger.store.list(f"{prefix}/{folder}")
    )
    found = (_kind(key, key.removeprefix(f"{prefix}/")) for key in listed if key not in told)
    entries = [entry for kind in found if kind and (entry := _entry(ledger.store, *kind))]
    return sorted(entries, key=_order)


def _order(entry: Entry) -> tuple[datetime, bool, str]:
    """When it was; a round's roster and projector have the instant of its cut, and the roster was first."""
    return entry.at or datetime.max.replace(tzinfo=UTC), entry.event in (PUBLISHED, ABANDONED, REVERTED), entry.key


def _kind(key: str, rest: str) -> tuple[Place, Read] | None:
    """Where it stands and what reads it; None of what tells nothing."""
    for pattern, read in _KINDS.items():
        if found := re.fullmatch(pattern, rest):
            places = found.groupdict()
            return Place(key, int(places.get("round") or 0), places.get("silo") or ""), read
    return None


def _entry(store: Store, place: Place, read: Read) -> Entry | None:
    """What a document tells; None where it was taken away since it was listed."""
    try:
        return read(place, store.get(place.key))
    except (InvariantBroken, LookupError, TypeError, ValueError):
        if not exists(store, place.key):
            return None
        seen: dict[str, object] = {"key": place.key, "see": "isthmus verify"}
        return Entry(place.key, None, DAMAGED, "", place.round, place.silo, seen)


def _act(place: Place, document: bytes) -> Entry:
    act = ActRecord.from_json(document).act
    return Entry(place.key, act.at, act.event, act.actor, silo=act.silo, details=dict(act.details))


def _push(place: Place, document: bytes) -> Entry:
    """An admission or a refusal."""
    record = AuditRecord.from_json(document)
    event = dict(record.fields["event"])
    return Entry(place.key, record.at, str(event.pop("event")), f"silo {place.silo}", place.round, place.silo, event)


def _roster(place: Place, document: bytes) -> Entry:
    roster = Roster.from_json(document)
    counts: dict[str, object] = {"reason": roster.reason, "silos": list(roster.silos), "digest": roster.digest.hex()}
    return Entry(place.key, roster.cut_at, ROSTER, "aggregator", place.round, details=counts)


def _projector(place: Place, document: bytes) -> Entry:
    manifest = manifest_from_json(document)
    made: dict[str, object] = {"digest": manifest.digest.hex(), "num_examples": manifest.num_examples}
    event = ABANDONED if manifest.abandoned else REVERTED if manifest.reverted else PUBLISHED
    return Entry(place.key, manifest.cut_at, event, "aggregator", place.round, details=made)


def _removal(place: Place, document: bytes) -> Entry:
    gone = removal.Removal.from_json(document)
    said: dict[str, object] = {"reason": gone.reason, "num_segments": gone.num_segments}
    return Entry(place.key, gone.removed_at, REMOVED, gone.removed_by, place.round, details=said)


_KINDS: dict[str, Read] = {
    r"audit/acts/[0-9]+\.json": _act,
    r"audit/(?P<round>[0-9]+)/(?P<silo>[^/]+)/(?:[0-9]+|admitted)\.json": _push,
    r"rounds/(?P<round>[0-9]+)/roster\.json": _roster,
    r"rounds/(?P<round>[0-9]+)/removed\.json": _removal,
    r"projectors/(?P<round>[1-9][0-9]*)\.json": _projector,
}
"""What tells something, by its key within the federation."""
