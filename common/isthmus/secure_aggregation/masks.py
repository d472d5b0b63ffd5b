"""The streams that hide a silo's words: one shared with each other silo, which cancels in the sum, and one of its own.

Bonawitz et al. 2017 ("Practical Secure Aggregation for Privacy-Preserving Machine Learning"), section 4, without the
secret shares of section 4.0.2: a round that misses a silo is not repaired but ended, and nothing of it is opened. Only
primitives of `cryptography`: X25519, HKDF-SHA-256, AES-256 in counter mode, which can begin anywhere. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from isthmus.errors import AggregatorUntrusted
from isthmus.secure_aggregation.keys import KeyRoster
from isthmus.secure_aggregation.ring import U32, WORD_BYTES, words_of

KEY_BYTES = 32
"""Of private keys, public keys, seeds and streams' keys."""

_AES_BLOCK = 16
_PIECE_WORDS = 1 << 18
"""Words of a stream that are made at once: 1 MiB, whatever is asked for."""

_ZEROS = bytes(_PIECE_WORDS * WORD_BYTES)


@dataclass(frozen=True, slots=True)
class Stream:
    """One mask: a stream of words that a key gives, added or subtracted.

    Attributes:
        key: Of AES-256, used for this stream and no other.
        adds: Whether it is added to the words; else it is subtracted.
    """

    key: bytes
    adds: bool = True


def silos_streams(roster: KeyRoster, *, silo: str, private_key: bytes, seed: bytes) -> tuple[Stream, ...]:
    """All that hides the words of one silo of a key roster.

    Args:
        roster: As the silo checked it.
        silo: Which; it is in the roster.
        private_key: X25519, of the public key that stands there for it.
        seed: Its own, 32 bytes.

    Raises:
        AggregatorUntrusted: Another member's public key gives no secret.
    """
    own = X25519PrivateKey.from_private_bytes(private_key)
    others = [member for member in roster.members if member.silo != silo]
    pairs = [
        Stream(
            _pair_key(own, other.public_key, pair=sorted((silo, other.silo)), transcript=roster.transcript),
            adds=silo < other.silo,
        )
        for other in others
    ]
    return (*pairs, self_stream(seed, silo=silo, transcript=roster.transcript))


def self_stream(seed: bytes, *, silo: str, transcript: bytes) -> Stream:
    """The stream of a silo's own seed: what hides its words until it reveals the seed."""
    return Stream(_derived(seed, transcript=transcript, info=f"isthmus.v1 self mask\n{silo}"))


def negated(streams: Iterable[Stream]) -> tuple[Stream, ...]:
    """The streams that take these away."""
    return tuple(Stream(one.key, adds=not one.adds) for one in streams)


def apply(streams: Iterable[Stream], words: U32, *, start: int) -> None:
    """Adds and subtracts the streams, in place.

    Args:
        streams: In any order.
        words: uint32 [num_words], to be changed.
        start: Position of the first of them in the whole vector, zero words included.
    """
    for stream in streams:
        for begin in range(0, len(words), _PIECE_WORDS):
            part = words[begin : begin + _PIECE_WORDS]
            mask = stream_words(stream.key, start=start + begin, count=len(part))
            (np.add if stream.adds else np.subtract)(part, mask, out=part)


def stream_words(key: bytes, *, start: int, count: int) -> U32:
    """Words `start` to `start + count` of a key's stream: the same whichever words before were asked for."""
    skipped = start * WORD_BYTES % _AES_BLOCK
    counter = (start * WORD_BYTES // _AES_BLOCK).to_bytes(_AES_BLOCK, "big")
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    size = skipped + count * WORD_BYTES
    zeros = memoryview(_ZEROS)[:size] if size <= len(_ZEROS) else bytes(size)
    return words_of(encryptor.update(zeros)[skipped:])


def _pair_key(own: X25519PrivateKey, public_key: bytes, *, pair: list[str], transcript: bytes) -> bytes:
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:  # a point of small order, or not 32 bytes: nobody's honest key
        raise AggregatorUntrusted(
            f"The public key of one of {pair[0]} and {pair[1]} in the key roster gives no secret.", check="public_key"
        ) from error
    return _derived(shared, transcript=transcript, info="isthmus.v1 pair mask\n" + "\n".join(pair))


def _derived(secret: bytes, *, transcript: bytes, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=transcript, info=info.encode()).derive(secret)
