"""What the store holds of a round with secure aggregation: offers of keys, their roster, whether it is opened, seeds.

All of it is created once: which roster and which opening stand is decided by whoever comes first, and everybody reads
back what stands. Knows documents, keys and a store; judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aggregator.ledger import keys, once
from aggregator.ledger.canonical import Fields, canonical, fields_of, from_instant, to_instant
from aggregator.stores import Store
from isthmus.secure_aggregation.keys import KeyRoster, Member

_RAW = ("signing_key", "public_key", "signature")


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """A key roster, and when and why it was fixed."""

    roster: KeyRoster
    reason: str
    fixed_at: datetime

    def to_json(self) -> bytes:
        """The document `keys.json`."""
        roster = self.roster
        return canonical(
            {
                "base_digest": roster.base_digest.hex(),
                "federation": roster.federation,
                "fixed_at": from_instant(self.fixed_at),
                "members": [_member_fields(member) for member in roster.members],
                "reason": self.reason,
                "round": roster.round,
                "spec_fingerprint": roster.spec_fingerprint.hex(),
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "FixedKeys":
        """The roster that `to_json` wrote."""
        fields: Fields = fields_of(document)
        members = tuple(_member(one) for one in fields["members"])
        base, fingerprint = (bytes.fromhex(fields[name]) for name in ("base_digest", "spec_fingerprint"))
        roster = KeyRoster(fields["federation"], fields["round"], base, fingerprint, members)
        return cls(roster, fields["reason"], to_instant(fields["fixed_at"]))


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a round's sum is opened.

    Attributes:
        round: Which round.
        complete: Every vector of the key roster is there, so that seeds may be revealed; else they never are.
        reason: Why, as a clause: what follows "because".
        without: Whose vectors were missing, sorted.
        decided_at: When.
    """

    round: int
    complete: bool
    reason: str
    without: tuple[str, ...]
    decided_at: datetime

    def to_json(self) -> bytes:
        """The document `opening.json`."""
        return canonical(
            {
                "complete": self.complete,
                "decided_at": from_instant(self.decided_at),
                "reason": self.reason,
                "round": self.round,
                "without": list(self.without),
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "Opening":
        """The decision that `to_json` wrote."""
        fields: Fields = fields_of(document)
        return cls(**fields | {"decided_at": to_instant(fields["decided_at"]), "without": tuple(fields["without"])})


@dataclass(frozen=True, slots=True)
class Seed:
    """A silo's seed, signed over the transcript that it masked for with the key of the credential named."""

    silo: str
    seed: bytes
    signature: bytes
    credential: str

    def to_json(self) -> bytes:
        """The document `seeds/<silo>.json`."""
        raw = {"seed": self.seed.hex(), "signature": self.signature.hex()}
        return canonical(raw | {"credential": self.credential, "silo": self.silo})

    @classmethod
    def from_json(cls, document: bytes) -> "Seed":
        """The seed that `to_json` wrote."""
        fields: Fields = fields_of(document)
        seed, signature = bytes.fromhex(fields["seed"]), bytes.fromhex(fields["signature"])
        return cls(fields["silo"], seed, signature, fields["credential"])


def member_to_json(member: Member) -> bytes:
    """The document `offers/<silo>.json`."""
    return canonical(_member_fields(member))


def member_from_json(document: bytes) -> Member:
    """The offer that `member_to_json` wrote."""
    return _member(fields_of(document))


def _member_fields(member: Member) -> Fields:
    raw = {name: getattr(member, name).hex() for name in _RAW}
    return raw | {"num_examples": member.num_examples, "silo": member.silo}


def _member(fields: Fields) -> Member:
    return Member(**fields | {name: bytes.fromhex(fields[name]) for name in _RAW})


def offer(store: Store, federation: str, round_number: int, *, member: Member) -> Member:
    """Makes an offer durable; the one that stands."""
    key = keys.key_offer(federation, round_number, member.silo)
    return member_from_json(once.stand(store, key, member_to_json(member)))


def offerers(store: Store, federation: str, round_number: int) -> tuple[str, ...]:
    """Who offered a key, sorted; one listing."""
    return once.names(store, keys.key_offers(federation, round_number))


def offers(store: Store, federation: str, round_number: int, *, silos: Sequence[str]) -> tuple[Member, ...]:
    """What these silos offered, in their order."""
    return tuple(member_from_json(store.get(keys.key_offer(federation, round_number, silo))) for silo in silos)


def fix_keys(store: Store, fixed: FixedKeys) -> FixedKeys:
    """Fixes a round's key roster; the one that stands."""
    key = keys.key_roster(fixed.roster.federation, fixed.roster.round)
    return FixedKeys.from_json(once.stand(store, key, fixed.to_json()))


def fixed_keys(store: Store, federation: str, round_number: int) -> FixedKeys | None:
    """A round's key roster; None until it is fixed."""
    document = once.find(store, keys.key_roster(federation, round_number))
    return FixedKeys.from_json(document) if document else None


def decide_opening(store: Store, federation: str, decided: Opening) -> Opening:
    """Decides whether a round's sum is opened; the decision that stands."""
    key = keys.opening(federation, decided.round)
    return Opening.from_json(once.stand(store, key, decided.to_json()))


def opening(store: Store, federation: str, round_number: int) -> Opening | None:
    """Whether a round's sum is opened; None while that is not decided."""
    document = once.find(store, keys.opening(federation, round_number))
    return Opening.from_json(document) if document else None


def reveal(store: Store, federation: str, round_number: int, *, seed: Seed) -> Seed:
    """Makes a seed durable; the one that stands."""
    key = keys.seed(federation, round_number, seed.silo)
    return Seed.from_json(once.stand(store, key, seed.to_json()))


def revealed(store: Store, federation: str, round_number: int) -> tuple[str, ...]:
    """Whose seeds are there, sorted; one listing."""
    return once.names(store, keys.seeds(federation, round_number))


def seeds(store: Store, federation: str, round_number: int, *, silos: Sequence[str]) -> tuple[Seed, ...]:
    """The seeds of these silos, in their order.

    Raises:
        KeyError: One is not there.
    """
    return tuple(Seed.from_json(store.get(keys.seed(federation, round_number, silo))) for silo in silos)
