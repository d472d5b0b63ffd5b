"""A federation's story: every act, refusal, admission, roster, publication and removal as one timeline. Reads alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from aggregator.ledger import Ledger, acts, keys, removal
from aggregator.ledger.audit import ADMITTED, REFUSED, AuditRecord
from aggregator.ledger.canonical import from_instant

ROSTER = "roster.fixed"
PUBLISHED = "projector.published"
ABANDONED = "round.abandoned"
REMOVED = "deltas.removed"

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
    REMOVED,
)
"""Every event of a story; the same names as in the log, where it has them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        key: The object in the store that tells it.
        at: When, by the clock of the aggregator that wrote it.
        event: One of `EVENTS`.
        actor: Who did it: a SPIFFE URI, "silo NAME", or "aggregator".
        round: In which round; 0: in none.
        silo: Whom it is about; "": the federation.
        details: More about it: numbers and texts of the record.
    """

    key: str
    at: datetime
    event: str
    actor: str
    round: int = 0
    silo: str = ""
    details: dict[str, object] = field(default_factory=dict)

    def to_fields(self) -> dict[str, object]:
        """As JSON has it, one object an entry."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"at": from_instant(self.at)}


def story(ledger: Ledger, federation: str) -> list[Entry]:
    """Everything, the oldest first.

    Raises:
        FederationUnknown: There is no such federation.
        InvariantBroken: A record is damaged; `isthmus verify` names it.
    """
    ledger.federation(federation)
    entries = [*_acts(ledger, federation)]
    for number in range(1, ledger.latest_number(federation) + 2):
        entries += _pushes(ledger, federation, number)
        entries += _ending(ledger, federation, number)
    return sorted(entries, key=lambda entry: (entry.at, entry.key))


def _acts(ledger: Ledger, federation: str) -> Iterator[Entry]:
    for record in acts.acts(ledger.store, federation):
        act = record.act
        key = keys.act(federation, record.sequence)
        yield Entry(key, act.at, act.event, act.actor, silo=act.silo, details=dict(act.details))


def _pushes(ledger: Ledger, federation: str, number: int) -> Iterator[Entry]:
    """Admissions and refusals of one round."""
    prefix = keys.audits(federation, number)
    for listed in ledger.store.list(prefix):
        silo = listed.key.removeprefix(f"{prefix}/").partition("/")[0]
        record = AuditRecord.from_json(ledger.store.get(listed.key))
        event = dict(record.fields["event"])
        name = str(event.pop("event"))
        yield Entry(listed.key, record.at, name, f"silo {silo}", number, silo, event)


def _ending(ledger: Ledger, federation: str, number: int) -> Iterator[Entry]:
    """The roster, the projector and the removal of one round, as far as there are any."""
    roster = ledger.roster(federation, number)
    if roster is None:
        return
    counts: dict[str, object] = {"reason": roster.reason, "silos": list(roster.silos), "digest": roster.digest.hex()}
    yield Entry(keys.roster(federation, number), roster.cut_at, ROSTER, "aggregator", number, details=counts)
    if number <= ledger.latest_number(federation):
        manifest = ledger.manifest(federation, number)
        made: dict[str, object] = {"digest": manifest.digest.hex(), "num_examples": manifest.num_examples}
        event = ABANDONED if manifest.abandoned else PUBLISHED
        yield Entry(keys.projector(federation, number), manifest.cut_at, event, "aggregator", number, details=made)
    gone = removal.find(ledger.store, federation, number)
    if gone is not None:
        said: dict[str, object] = {"reason": gone.reason, "num_segments": gone.num_segments}
        key = keys.removal(federation, number)
        yield Entry(key, gone.removed_at, REMOVED, gone.removed_by, number, details=said)
