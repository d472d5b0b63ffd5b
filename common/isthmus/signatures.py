"""What is signed, and how it is checked: contributions by silos, receipts and manifests by the aggregator. Pure.

A signature is Ed25519 (RFC 8032) over a statement: a line that says what it is, then canonical JSON (sorted keys, no
spaces, ASCII). Digests and other bytes are hex, instants are microseconds since 1970 UTC, floats are 16 hex digits,
their big-endian IEEE 754 bits, so that any language writes the same bytes. docs/protocol.md lists the fields.
"""

import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from isthmus.contribution import ContributionHeader, Receipt
from isthmus.manifest import ProjectorManifest

SIGNATURE_BYTES = 64
KEY_BYTES = 32
NONCE_BYTES = 16

Sign = Callable[[bytes], bytes]
"""Signs a statement: 64 bytes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNSIGNED = frozenset({"signature"})
_UNSENT = frozenset({"optimizer_state_size_bytes"})
"""What of a manifest nobody is sent."""
_UNLESS_EMPTY = frozenset({"remark", "seed_digest", "transcript"})
"""What is signed where it says something: signatures over what has none of it stay what they were."""
_DOUBLES = frozenset({"l2_norm", "tolerance"})
"""Doubles on the wire, also where a document or a caller has a whole number."""


def contribution_statement(header: ContributionHeader, *, silo: str) -> bytes:
    """What a silo signs: every field of the header but the signature, and its own name."""
    return statement("contribution", _fields(header) | {"silo": silo})


def receipt_statement(receipt: Receipt) -> bytes:
    """What the aggregator signs of a receipt: every field but the signature."""
    return statement("receipt", _fields(receipt))


def manifest_statement(manifest: ProjectorManifest, *, federation: str) -> bytes:
    """What the aggregator signs of a manifest: every field that is sent, and the federation's name."""
    fields = {name: value for name, value in _fields(manifest).items() if name not in _UNSENT}
    return statement("manifest", fields | {"federation": federation})


def signing_key_statement(signing_key: bytes, *, federation: str) -> bytes:
    """What a TLS key signs to say that this Ed25519 key (32 bytes) signs for whoever its certificate names."""
    return statement("signing key", {"federation": federation, "signing_key": signing_key})


def trust_statement(
    *, federation: str, silo: str, certificate_pem: str, authorities_pem: str, aggregator_keys: Iterable[bytes]
) -> bytes:
    """What the aggregator signs when a silo enrols or renews: its certificate, and whom it is to trust from then on."""
    fields: dict[str, object] = {
        "aggregator_keys": list(aggregator_keys),
        "authorities_sha256": hashlib.sha256(authorities_pem.encode()).digest(),
        "certificate_sha256": hashlib.sha256(certificate_pem.encode()).digest(),
        "federation": federation,
        "silo": silo,
    }
    return statement("trust", fields)


def signer(private_key: bytes) -> Sign:
    """Signs with this Ed25519 private key (32 bytes)."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign


def public_key_of(private_key: bytes) -> bytes:
    """The public key (32 bytes) of an Ed25519 private key."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def is_signed(statement: bytes, signature: bytes, *, by: Iterable[bytes]) -> bool:
    """Whether one of these Ed25519 public keys (32 bytes each) signed the statement."""
    return any(_is_signed_by(statement, signature, key) for key in by)


def _is_signed_by(statement: bytes, signature: bytes, key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def statement(what: str, fields: dict[str, object]) -> bytes:
    """A line that says what it is, then canonical JSON of the fields: see the head of this module."""
    text = json.dumps(
        {name: _plain(value) for name, value in fields.items()},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return f"isthmus.v1 {what}\n{text}".encode()


def _fields(value: ContributionHeader | Receipt | ProjectorManifest) -> dict[str, object]:
    names = (field.name for field in dataclasses.fields(value))
    found = {name: getattr(value, name) for name in names if name not in _UNSIGNED}
    found = {name: said for name, said in found.items() if said or name not in _UNLESS_EMPTY}
    return found | {name: float(found[name]) for name in _DOUBLES & found.keys()}


def _plain(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return (value - _EPOCH) // _MICROSECOND  # in whole numbers: a float loses some after 2100
        case float():
            return struct.pack(">d", value).hex()
        case dict():  # metrics: on the wire they are all floats
            return {key: _plain(float(item)) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
    return value
