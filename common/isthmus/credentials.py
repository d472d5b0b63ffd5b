"""Credentials: what a silo or an operator proves itself with. A PEM file with a token, and certificates beside it.

The aggregator never keeps a token, only its SHA-256: reading the store makes nobody a silo.
"""

import base64
import binascii
import hashlib
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.errors import ConfigInvalid

TOKEN_BYTES = 32
METADATA_KEY = "authorization"
"""The gRPC metadata key that carries the token."""

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z ]+)-----(?P<body>[A-Za-z0-9+/=\s]*)-----END (?P=label)-----")
_TOKEN_LABEL = "ISTHMUS TOKEN"
_SCHEME = "Bearer "


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one credentials file holds."""

    token: bytes = field(repr=False)
    """32 random bytes."""
    ca_pem: str = ""
    """CERTIFICATE blocks of the authority that vouches for the aggregator; empty: none is named."""

    @property
    def digest(self) -> str:
        """SHA-256 of the token, 64 hex digits: all that the aggregator stores."""
        return token_digest(self.token)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The gRPC metadata that identifies the caller."""
        return ((METADATA_KEY, _SCHEME + base64.urlsafe_b64encode(self.token).decode().rstrip("=")),)


def new_token() -> bytes:
    """A fresh token from the system's random source."""
    return secrets.token_bytes(TOKEN_BYTES)


def token_digest(token: bytes) -> str:
    """SHA-256 of a token, 64 hex digits. The token is uniformly random, so a plain hash cannot be guessed back."""
    return hashlib.sha256(token).hexdigest()


def token_pem(token: bytes) -> str:
    """The token as the PEM block of a credentials file."""
    body = base64.b64encode(token).decode()
    return f"-----BEGIN {_TOKEN_LABEL}-----\n{body}\n-----END {_TOKEN_LABEL}-----\n"


def parse_credentials(pem: str, *, where: str) -> Credentials:
    """The credentials in this PEM text; `where` names its file in errors.

    Raises:
        ConfigInvalid: There is not exactly one well-formed token in it.
    """
    blocks = [(match["label"], match["body"]) for match in _BLOCK.finditer(pem)]
    tokens = [body for label, body in blocks if label == _TOKEN_LABEL]
    if len(tokens) != 1:
        raise ConfigInvalid(
            f"{where} holds {len(tokens)} ISTHMUS TOKEN blocks instead of one. Use the file that "
            "`isthmus silo invite` or `isthmus operator init` wrote, unchanged."
        )
    token = _decode(tokens[0], where=where)
    certificates = [match.group() for match in _BLOCK.finditer(pem) if match["label"] == "CERTIFICATE"]
    return Credentials(token, "".join(block + "\n" for block in certificates))


def load_credentials(path: str | Path) -> Credentials:
    """The credentials in this file.

    Raises:
        ConfigInvalid: The file is missing or unreadable, or holds no token.
    """
    try:
        pem = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise ConfigInvalid(
            f"The credentials file {path} cannot be read: {error.strerror}. Ask the operator for one "
            "(`isthmus silo invite`), or correct the path."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path} is no credentials file: it is not PEM text.") from error
    return parse_credentials(pem, where=str(path))


def save_credentials(path: str | Path, pem: str) -> None:
    """Writes a new credentials file that only its owner can read.

    Raises:
        ConfigInvalid: The file exists already, or its folder cannot be written; nothing was changed.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigInvalid(f"{path} exists already. Name another file, or move that one away first.") from error
    except OSError as error:
        raise ConfigInvalid(f"The credentials file {path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(pem)


def token_of(authorization: str) -> bytes | None:
    """The token in the value of the metadata key `authorization`; None when it is not a well-formed one."""
    if not authorization.startswith(_SCHEME):
        return None
    text = authorization.removeprefix(_SCHEME)
    try:
        token = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return token if len(token) == TOKEN_BYTES else None


def _decode(body: str, *, where: str) -> bytes:
    try:
        token = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ConfigInvalid(f"The token in {where} is not valid base64. Use the file as it was issued.") from error
    if len(token) != TOKEN_BYTES:
        raise ConfigInvalid(f"The token in {where} has {len(token)} bytes instead of {TOKEN_BYTES}. It was cut off.")
    return token
