"""Canonical JSON, the bytes of every document in the store: sorted keys, no spaces, ASCII.

Equal values have equal bytes, so the digest of a document names its value. Digests are raw 32-byte SHA-256 in values,
hex in documents; instants are UTC, ISO-8601.
"""

import json
from datetime import UTC, datetime
from typing import Any

Fields = dict[str, Any]
"""A JSON object: its values are whatever JSON holds, and each `from_json` gives them types."""


def canonical(fields: Fields) -> bytes:
    """The one JSON text of these fields; refuses NaN and infinity, which JSON has not."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def to_instant(text: str) -> datetime:
    """The instant that `from_instant` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def from_instant(instant: datetime) -> str:
    """The instant as ISO-8601 in UTC, to the microsecond."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")
