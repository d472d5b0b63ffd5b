"""Which bytes were contributed before, whoever contributed them. Talks to a ledger only.

Before a contribution is committed its payload's digest is claimed for its silo and round, create-only. A claim stands
while its contribution is counted or can still be: whoever made it may go on after a crash, and nobody else may bring
the same bytes. Once a round is over that did not count it, or whose result was taken back, the claim is void for good,
and another one may follow: a silo that trains anew from the earlier projector may well come to the same bytes.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.ledger import keys
from aggregator.ledger.canonical import canonical, fields_of
from aggregator.ledger.ledger import Ledger
from isthmus.contribution import ContributionHeader
from isthmus.errors import DeltaReplayed


@dataclass(frozen=True, slots=True)
class _Claim:
    """Who brought a payload, to which round."""

    silo: str
    round: int

    def to_json(self, digest: bytes, number: int) -> bytes:
        return canonical({"number": number, "payload_digest": digest.hex(), "round": self.round, "silo": self.silo})

    @classmethod
    def from_json(cls, document: bytes) -> "_Claim":
        fields = fields_of(document)
        return cls(fields["silo"], fields["round"])


def require_new(ledger: Ledger, header: ContributionHeader, silo: str) -> None:
    """Checks that nobody else, and no other round, brought this payload; reads only.

    Raises:
        DeltaReplayed: Somebody did.
    """
    own = _Claim(silo, header.round)
    for claim in _claims(ledger, header):
        if claim == own:
            return
        _require_void(ledger, header, claim, own=own)


def claim(ledger: Ledger, header: ContributionHeader, silo: str) -> None:
    """Claims a payload for a silo and round; again for the same ones it changes nothing.

    Raises:
        DeltaReplayed: Another claim stands.
    """
    own = _Claim(silo, header.round)
    for number in itertools.count():
        key = keys.payload_claim(header.federation, header.payload_digest, number)
        if ledger.store.put_if_absent(key, own.to_json(header.payload_digest, number)):
            return
        standing = _Claim.from_json(ledger.store.get(key))
        if standing == own:
            return
        _require_void(ledger, header, standing, own=own)


def _claims(ledger: Ledger, header: ContributionHeader) -> Iterator[_Claim]:
    for number in itertools.count():
        try:
            key = keys.payload_claim(header.federation, header.payload_digest, number)
            yield _Claim.from_json(ledger.store.get(key))
        except KeyError:
            return


def _require_void(ledger: Ledger, header: ContributionHeader, claim: _Claim, *, own: _Claim) -> None:
    if not _may_count(ledger, header, claim):
        return
    where = f"to round {claim.round}" if claim.silo == own.silo else "by another silo"
    raise DeltaReplayed(
        f"These very bytes were contributed before, {where}. Train from the current projector, and never send a delta "
        "twice.",
        check="REPLAY",
        measured=header.payload_digest.hex(),
    )


def _may_count(ledger: Ledger, header: ContributionHeader, claim: _Claim) -> bool:
    """Whether the claim's contribution is counted, or can still be."""
    federation, trained = header.federation, claim.round
    contribution = ledger.contribution(federation, trained, claim.silo)
    if contribution is not None and contribution.header.payload_digest != header.payload_digest:
        return False  # that silo contributed something else to that round, and the first stands
    for number in range(trained, ledger.federation(federation).federation.last_counting(trained) + 1):
        roster = ledger.roster(federation, number)
        if roster is None:
            return True
        if any(entry.silo == claim.silo and number - entry.staleness == trained for entry in roster.entries):
            return not (roster.abandoned or _was_taken_back(ledger, federation, number))
    return False


def _was_taken_back(ledger: Ledger, federation: str, number: int) -> bool:
    """Whether nothing of a round is in any later projector: it was reverted, or the one that judged its result was."""
    latest = ledger.latest_number(federation)
    if number <= latest and ledger.manifest(federation, number).reverted:
        return True
    judge = number + 1
    while judge <= latest and ledger.manifest(federation, judge).abandoned:  # it handed the question on
        judge += 1
    return judge <= latest and ledger.manifest(federation, judge).reverted
