"""Key rosters and masked words for tests: keys and seeds follow from names, so that every run is the same."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from isthmus.codec import F32
from isthmus.secure_aggregation.keys import KeyOffer, KeyRoster, Member
from isthmus.secure_aggregation.masks import apply, negated, self_stream, silos_streams
from isthmus.secure_aggregation.ring import U32, ZERO_WORDS, fitting_bits, mean_of, quantise, summed
from isthmus.signatures import public_key_of, signer

CLIP, BITS = 1.0, 24


def secret(what: str) -> bytes:
    """32 bytes that follow from their name."""
    return hashlib.sha256(what.encode()).digest()


@dataclass(frozen=True)
class Masking:
    """One silo's secrets of a round."""

    silo: str

    @property
    def private_key(self) -> bytes:
        """X25519."""
        return secret(f"x25519 {self.silo}")

    @property
    def seed(self) -> bytes:
        """Its own."""
        return secret(f"seed {self.silo}")

    @property
    def signing_key(self) -> bytes:
        """Ed25519, private."""
        return secret(f"signing {self.silo}")

    def offer(self, *, weight: int = 1, round_number: int = 1) -> KeyOffer:
        """Its signed offer."""
        public = X25519PrivateKey.from_private_bytes(self.private_key).public_key().public_bytes_raw()
        bare = KeyOffer("harbour", round_number, b"b" * 32, b"s" * 32, public, weight)
        return replace(bare, signature=signer(self.signing_key)(bare.statement(self.silo)))

    def member(self, *, weight: int = 1) -> Member:
        """It as a roster shows it."""
        offer = self.offer(weight=weight)
        return Member(self.silo, public_key_of(self.signing_key), offer.public_key, weight, offer.signature)

    def masked(self, delta: F32, roster: KeyRoster) -> U32:
        """Its vector: zero words and quantised values under all its masks."""
        words = plain_words(delta, roster, silo=self.silo)
        streams = silos_streams(roster, silo=self.silo, private_key=self.private_key, seed=self.seed)
        apply(streams, words, start=0)
        return words


def roster_of(weights: Sequence[int]) -> KeyRoster:
    """A key roster of silos 00, 01... with these weights."""
    members = tuple(Masking(f"{number:02}").member(weight=weight) for number, weight in enumerate(weights))
    return KeyRoster("harbour", 1, b"b" * 32, b"s" * 32, members)


def plain_words(delta: F32, roster: KeyRoster, *, silo: str) -> U32:
    """What a silo masks."""
    weight = next(member.num_examples for member in roster.members if member.silo == silo)
    bits = fitting_bits(BITS, total_weight=roster.total_weight)
    return np.concatenate([np.zeros(ZERO_WORDS, np.uint32), quantise(delta, clip=CLIP, bits=bits, weight=weight)])


def opened(vectors: Sequence[U32], roster: KeyRoster) -> U32:
    """The sum of the vectors with the self masks of the roster's silos taken away."""
    total = summed(vectors, length=len(vectors[0]))
    own = [self_stream(Masking(silo).seed, silo=silo, transcript=roster.transcript) for silo in roster.silos]
    apply(negated(own), total, start=0)
    return total


def mean(total: U32, roster: KeyRoster) -> F32:
    """The mean that an opened sum stands for."""
    bits = fitting_bits(BITS, total_weight=roster.total_weight)
    return mean_of(total[ZERO_WORDS:], clip=CLIP, bits=bits, total_weight=roster.total_weight)


def secure(*, rounds: int = 3, upload_seconds: float = 60.0, extra: str = "", silos: str = "min = 3, max = 5") -> str:
    """A federation's TOML."""
    return f"""
name = "harbour"
rounds = {rounds}
encoding = "ring32"
participation.silos = {{ {silos} }}
participation.seconds = {{ max = 60.0 }}
admission.max_num_examples = 1
plan.learning_rate = {{ initial = 0.01 }}
secure_aggregation = {{ clip = 0.5, min_silos = 3, upload_seconds = {upload_seconds} }}
{extra}
"""
