"""Who takes part in a round's sum, with which key: the silos' offers, and the roster that everybody must see alike.

The transcript, SHA-256 over the whole roster, goes into every mask. Whoever is shown another roster has another
transcript, his masks do not cancel, and the sum's zero words tell.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from isthmus.errors import AggregatorUntrusted
from isthmus.signatures import is_signed, statement

LEAST_MEMBERS = 3
"""Of any roster: of two silos each would know the other's delta from the sum."""


@dataclass(frozen=True, slots=True)
class KeyOffer:
    """What a silo signs to take part in the sum of one round.

    Attributes:
        federation: Which federation.
        round: Which round.
        base_digest: Of the projector that it starts from.
        spec_fingerprint: Of the projector spec.
        public_key: X25519, 32 bytes; made for this round alone.
        num_examples: The weight of its delta: public, and fixed with this.
        signature: Ed25519, by the signing key that the silo enrolled.
    """

    federation: str
    round: int
    base_digest: bytes
    spec_fingerprint: bytes
    public_key: bytes
    num_examples: int
    signature: bytes = b""

    def statement(self, silo: str) -> bytes:
        """What is signed: every field but the signature, and the silo's name."""
        return statement(
            "key offer",
            {
                "base_digest": self.base_digest,
                "federation": self.federation,
                "num_examples": self.num_examples,
                "public_key": self.public_key,
                "round": self.round,
                "silo": silo,
                "spec_fingerprint": self.spec_fingerprint,
            },
        )


@dataclass(frozen=True, slots=True)
class Member:
    """One silo of a key roster: its name, the Ed25519 key that signs for it, and what it offered."""

    silo: str
    signing_key: bytes
    public_key: bytes
    num_examples: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class KeyRoster:
    """Whose deltas a round's sum is of; fixed once, sorted by silo."""

    federation: str
    round: int
    base_digest: bytes
    spec_fingerprint: bytes
    members: tuple[Member, ...]

    @property
    def silos(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(member.silo for member in self.members)

    @property
    def total_weight(self) -> int:
        """Sum of their num_examples."""
        return sum(member.num_examples for member in self.members)

    @property
    def transcript(self) -> bytes:
        """SHA-256 over all that it says but the signatures, which those who hold the signing keys could vary."""
        members = [[one.silo, one.signing_key, one.public_key, one.num_examples] for one in self.members]
        said = statement(
            "key roster",
            {
                "base_digest": self.base_digest,
                "federation": self.federation,
                "members": members,
                "round": self.round,
                "spec_fingerprint": self.spec_fingerprint,
            },
        )
        return hashlib.sha256(said).digest()

    def offer_of(self, member: Member) -> KeyOffer:
        """What a member must have offered to stand here."""
        return KeyOffer(
            self.federation,
            self.round,
            self.base_digest,
            self.spec_fingerprint,
            member.public_key,
            member.num_examples,
            member.signature,
        )


def seed_statement(*, federation: str, round_number: int, silo: str, transcript: bytes, seed: bytes) -> bytes:
    """What a silo signs as it reveals its seed: good for that key roster alone."""
    return statement(
        "seed",
        {"federation": federation, "round": round_number, "seed": seed, "silo": silo, "transcript": transcript},
    )


def require_roster(
    roster: KeyRoster, own: KeyOffer, *, silo: str, least: int, known: Mapping[str, str] | None = None
) -> None:
    """Checks, at the silo, a key roster that the aggregator shows.

    Args:
        roster: As it came.
        own: What this silo offered.
        silo: This silo's name.
        least: The fewest members that this silo takes part with.
        known: The members that this silo knows, by name, each with its signing key in hex ("": any); None: whoever the
            aggregator enrolled.

    Raises:
        AggregatorUntrusted: It is for another round or base, out of order, too small, holds somebody who is not known,
            an offer that its silo did not sign, or not this silo's own.
    """
    placed = (roster.federation, roster.round, roster.base_digest, roster.spec_fingerprint)
    if placed != (own.federation, own.round, own.base_digest, own.spec_fingerprint):
        raise _untrusted("It is for another round, projector or spec", "place", roster.round, limit=own.round)
    least = max(least, LEAST_MEMBERS)
    if len(roster.members) < least:
        raise _untrusted("It is too small to hide one silo among the others", "size", len(roster.members), limit=least)
    if list(roster.silos) != sorted(set(roster.silos)):
        raise _untrusted("Its silos do not stand once each, in order", "order", ",".join(roster.silos), limit="sorted")
    if [roster.offer_of(one) for one in roster.members if one.silo == silo] != [own]:
        raise _untrusted("What this silo offered does not stand in it", "own", silo, limit="its own offer")
    for member in roster.members:
        _require_member(roster, member, known=known)
    keys: Collection[bytes] = {member.public_key for member in roster.members}
    if len(keys) < len(roster.members):
        raise _untrusted("Two silos have the same key", "keys", len(keys), limit=len(roster.members))


def _require_member(roster: KeyRoster, member: Member, *, known: Mapping[str, str] | None) -> None:
    if known is not None and known.get(member.silo, "unknown") not in ("", member.signing_key.hex()):
        raise _untrusted(
            f"Silo {member.silo} with that signing key is none that this silo's policy.members lists",
            "member",
            f"{member.silo} {member.signing_key.hex()}",
            limit="policy.members",
        )
    if not is_signed(roster.offer_of(member).statement(member.silo), member.signature, by=(member.signing_key,)):
        raise _untrusted(f"Silo {member.silo} did not sign its offer", "signature", member.silo, limit="its signature")


def _untrusted(words: str, check: str, measured: object, *, limit: object) -> AggregatorUntrusted:
    return AggregatorUntrusted(
        f"The key roster that the aggregator shows cannot be trusted. {words}: {measured}, where this silo expects "
        f"{limit}. Nothing was sent. Ask the operator by another way.",
        check=f"key_roster_{check}",
        measured=measured,
        limit=limit,
    )
