"""Canonical JSON, the bytes of every document in the store: sorted keys, no spaces, ASCII, and a seal.

Equal values have equal bytes, so the digest of a document names its value. The seal is the SHA-256 of the document
without it: a byte that changed in the store shows to whoever reads the document next. It protects against accidents;
who may write to the store can seal what he wrote. Digests are raw 32-byte SHA-256 in values, hex in documents; instants
are UTC, ISO-8601.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from isthmus.errors import InvariantBroken

Fields = dict[str, Any]
"""A JSON object: its values are whatever JSON holds, and each `from_json` gives them types."""

SEAL = "seal"
"""The field that holds the SHA-256 of the document without it; no document has another field of that name."""


def canonical(fields: Fields) -> bytes:
    """The one document of these fields, sealed; refuses NaN and infinity, which JSON has not."""
    return _text(fields | {SEAL: hashlib.sha256(_text(fields)).hexdigest()})


def fields_of(document: bytes) -> Fields:
    """The fields that `canonical` was given.

    Raises:
        InvariantBroken: The bytes are not what `canonical` wrote.
    """
    try:
        fields = json.loads(document)
        del fields[SEAL]
        if canonical(fields) == document:
            return dict(fields)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass  # told below, as any other damage
    raise InvariantBroken(
        f"A document of the store was damaged: its seal does not fit its content. It begins with {document[:80]!r}. "
        "`isthmus verify` tells which one it is."
    )


def _text(fields: Fields) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def to_instant(text: str) -> datetime:
    """The instant that `from_instant` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def from_instant(instant: datetime) -> str:
    """The instant as ISO-8601 in UTC, to the microsecond."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")
