"""What is on record of each round that is over: one chain over all rounds, which pins everything else that happened.

Record n carries the SHA-256 of record n-1, and names roster, manifest and projector of round n, each silo's last
refusal in it, and the last act, as they were when it was written. Created once, by whichever replica comes first.
"""

import hashlib
from dataclasses import dataclass, field

from aggregator.ledger import acts, audit, keys
from aggregator.ledger.canonical import Fields, canonical, fields_of
from aggregator.ledger.documents import manifest_to_json
from aggregator.ledger.ledger import Ledger
from aggregator.stores import exists
from isthmus.errors import InvariantBroken


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round's record. Digests are hex SHA-256.

    Attributes:
        round: Which round.
        previous: Of the record before; "": it is the first.
        roster: Of the roster's document.
        manifest: Of the manifest's document.
        projector: Of the projector's bytes.
        reason: Why the round was cut.
        silos: Whom the roster counts, in its order.
        last_act: Of the last act's record then; "": there was none.
        last_refusals: Of each silo's last refusal in this round then.
    """

    round: int
    previous: str
    roster: str
    manifest: str
    projector: str
    reason: str
    silos: tuple[str, ...]
    last_act: str = ""
    last_refusals: dict[str, str] = field(default_factory=dict)

    def to_json(self, federation: str) -> bytes:
        """The document `audit/rounds/<n>.json`."""
        fields: Fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return canonical(fields | {"federation": federation, "silos": list(self.silos)})

    @classmethod
    def from_json(cls, document: bytes) -> "RoundRecord":
        """The record that `to_json` wrote."""
        fields: Fields = fields_of(document)
        fields.pop("federation")
        return cls(**fields | {"silos": tuple(fields["silos"])})


def record_rounds(ledger: Ledger, federation: str) -> None:
    """Puts every published round on record that is not yet: at most those since some replica last did, in order."""
    latest = ledger.latest_number(federation)
    first = latest
    while first >= 1 and not exists(ledger.store, keys.round_record(federation, first)):
        first -= 1
    for number in range(first + 1, latest + 1):
        document = round_record(ledger, federation, number).to_json(federation)
        ledger.store.put_if_absent(keys.round_record(federation, number), document)


def round_record(ledger: Ledger, federation: str, number: int) -> RoundRecord:
    """What is to be put on record of a published round, now.

    Raises:
        InvariantBroken: It has no roster, or the round before is not on record.
    """
    roster, manifest = ledger.roster(federation, number), ledger.manifest(federation, number)
    if roster is None:
        raise InvariantBroken(f"Round {number} of {federation} was published without a roster.")
    previous = digest(ledger, federation, number - 1) if number > 1 else ""
    return RoundRecord(
        round=number,
        previous=previous,
        roster=roster.digest.hex(),
        manifest=hashlib.sha256(manifest_to_json(manifest)).hexdigest(),
        projector=manifest.digest.hex(),
        reason=roster.reason,
        silos=roster.silos,
        last_act=acts.head(ledger.store, federation),
        last_refusals=audit.last_refusals(ledger.store, federation, number),
    )


def digest(ledger: Ledger, federation: str, number: int) -> str:
    """Hex SHA-256 of a round's record.

    Raises:
        InvariantBroken: It is not there.
    """
    try:
        return hashlib.sha256(ledger.store.get(keys.round_record(federation, number))).hexdigest()
    except KeyError:
        raise InvariantBroken(f"Round {number} of {federation} is not on record.") from None
