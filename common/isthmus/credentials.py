"""Credentials: what a silo or an operator proves itself with. One PEM file that only its owner can read.

PRIVATE KEY                 of TLS; made at the site, never leaves it
CERTIFICATE                 its certificate, then its intermediates
ISTHMUS AUTHORITY           certificates of who vouches for the aggregator; none: whom the system trusts
ISTHMUS SIGNING KEY         the Ed25519 private key (32 bytes) that signs contributions; an operator has none
ISTHMUS AGGREGATOR KEY      Ed25519 public keys (32 bytes) that sign receipts and manifests, the current one first
ISTHMUS ENROLMENT           federation and silo, as JSON: what the aggregator calls its owner; an operator has none
ISTHMUS FILES               instead of the first two: where a PKI of the site keeps them, as JSON
"""

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.certificates import Certificate, read_certificate, read_certificates
from isthmus.errors import ConfigInvalid
from isthmus.keys import TlsKey, read_tls_key
from isthmus.signatures import KEY_BYTES
from isthmus.spiffe import SpiffeId

METADATA_KEY = "isthmus-certificate-bin"
"""The gRPC metadata key that carries the certificate where a connection is plaintext, on loopback alone."""

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>[A-Za-z0-9+/=\s]*)-----END (?P=label)-----")
_AUTHORITY, _SIGNING, _AGGREGATOR = "ISTHMUS AUTHORITY", "ISTHMUS SIGNING KEY", "ISTHMUS AGGREGATOR KEY"
_FILES, _ENROLMENT = "ISTHMUS FILES", "ISTHMUS ENROLMENT"
_LINE = 64


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one credentials file holds.

    Attributes:
        key: The TLS key.
        chain: The certificate, then its intermediates.
        authorities: Who vouches for the aggregator.
        signing_key: Ed25519 private key, 32 bytes; b"": none.
        aggregator_keys: Ed25519 public keys of the aggregator.
        federation: What the silo is enrolled in; "": an operator.
        silo: What it is called there.
        files: Where certificate and key stand, when a PKI of the site keeps them in files of its own.
    """

    key: TlsKey = field(repr=False)
    chain: tuple[Certificate, ...]
    authorities: tuple[Certificate, ...] = ()
    signing_key: bytes = field(default=b"", repr=False)
    aggregator_keys: tuple[bytes, ...] = ()
    federation: str = ""
    silo: str = ""
    files: tuple[Path, Path] | None = None

    @property
    def certificate(self) -> Certificate:
        """The certificate that names its owner."""
        return self.chain[0]

    @property
    def spiffe_id(self) -> SpiffeId:
        """Who its owner is.

        Raises:
            IdentityInvalid: The certificate does not name exactly one SPIFFE URI of the right form.
        """
        return self.certificate.spiffe_id

    @property
    def chain_pem(self) -> str:
        """The certificate and its intermediates."""
        return "".join(one.pem for one in self.chain)

    @property
    def authorities_pem(self) -> str:
        """Who vouches for the aggregator; "": whom the system trusts."""
        return "".join(one.pem for one in self.authorities)

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The gRPC metadata that names the caller where the connection is plaintext."""
        return ((METADATA_KEY, self.certificate.der),)

    @property
    def pem(self) -> str:
        """The file's text."""
        if self.files is None:
            own = self.key.pem + self.chain_pem
        else:
            names = json.dumps({"certificate": str(self.files[0]), "key": str(self.files[1])})
            own = _block(_FILES, names.encode())
        authorities = "".join(_block(_AUTHORITY, one.der) for one in self.authorities)
        signing = _block(_SIGNING, self.signing_key) if self.signing_key else ""
        if self.silo:
            signing += _block(_ENROLMENT, json.dumps({"federation": self.federation, "silo": self.silo}).encode())
        return own + authorities + signing + "".join(_block(_AGGREGATOR, key) for key in self.aggregator_keys)


class CredentialsFile:
    """A credentials file that may be renewed while it is in use.

    Args:
        path: The file.

    Raises:
        ConfigInvalid: See `load_credentials`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._credentials = load_credentials(path)
        self._modified_ns = self._modified()

    def current(self) -> Credentials:
        """What the file holds now; what it held before, while it is damaged or gone."""
        modified_ns = self._modified()
        if modified_ns != self._modified_ns:
            with suppress(ConfigInvalid):
                self._credentials = load_credentials(self.path)
                self._modified_ns = modified_ns
        return self._credentials

    def _modified(self) -> tuple[int, ...]:
        """When the file, and those it names, changed last; 0 for one that is not there."""
        return tuple(map(_modified_ns, (self.path, *(self._credentials.files or ()))))


def new_file_credentials(
    certificate: Path, key: Path, *, authorities: tuple[Certificate, ...], signing_key: bytes
) -> Credentials:
    """Credentials whose certificate and key a PKI of the site keeps in files of its own.

    Raises:
        ConfigInvalid: They cannot be read, or do not belong together.
    """
    credentials = Credentials(
        key=read_tls_key(_own_key(_read(key)), where=str(key)),
        chain=tuple(read_certificates(_read(certificate), where=str(certificate))),
        authorities=authorities,
        signing_key=signing_key,
        files=(certificate.absolute(), key.absolute()),
    )
    _require_pair(credentials, where=f"{certificate} and {key}")
    return credentials


def parse_credentials(pem: str, *, where: str) -> Credentials:
    """The credentials in this PEM text; `where` names its file in errors.

    Raises:
        ConfigInvalid: A part is missing, damaged, or does not fit the others.
    """
    blocks = list(_blocks(pem, where=where))
    authorities = tuple(read_certificate(body) for label, body in blocks if label == _AUTHORITY)
    signing = [_ed25519(body, where=where) for label, body in blocks if label == _SIGNING]
    aggregator = tuple(_ed25519(body, where=where) for label, body in blocks if label == _AGGREGATOR)
    files = _files(blocks, where=where)
    enrolment = _named(blocks, _ENROLMENT, names=("federation", "silo"), where=where)
    key_pem, chain_pem = (pem, pem) if files is None else (_read(files[1]), _read(files[0]))
    if "PRIVATE KEY-----" not in key_pem or "BEGIN CERTIFICATE-----" not in chain_pem:
        raise ConfigInvalid(
            f"{where} holds no private key with its certificate. Use the file that `isthmus silo enrol` or "
            "`isthmus ca operator` wrote, unchanged."
        )
    credentials = Credentials(
        key=read_tls_key(_own_key(key_pem), where=where),
        chain=tuple(read_certificates(chain_pem, where=where)),
        authorities=authorities,
        signing_key=signing[0] if signing else b"",
        aggregator_keys=aggregator,
        federation=enrolment[0],
        silo=enrolment[1],
        files=files,
    )
    _require_pair(credentials, where=where)
    return credentials


def load_credentials(path: str | Path) -> Credentials:
    """The credentials in this file.

    Raises:
        ConfigInvalid: The file is missing or unreadable, or what it holds is no credentials.
    """
    try:
        pem = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise ConfigInvalid(
            f"The credentials file {path} cannot be read: {error.strerror}. Enrol with the operator's invitation "
            "(`isthmus silo enrol`), or correct the path."
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
        file.flush()
        os.fsync(file.fileno())


def replace_credentials(path: str | Path, pem: str) -> None:
    """Puts a renewed credentials file in the place of the old one: whoever reads it finds one of the two, whole.

    Raises:
        ConfigInvalid: Its folder cannot be written; the old file stands.
    """
    aside = Path(f"{path}.new")
    try:
        aside.unlink(missing_ok=True)
        save_credentials(aside, pem)
        aside.replace(path)
    except OSError as error:
        raise ConfigInvalid(f"The credentials file {path} cannot be replaced: {error.strerror}.") from error


def _blocks(pem: str, *, where: str) -> Iterator[tuple[str, bytes]]:
    for match in _BLOCK.finditer(pem):
        try:
            yield match["label"], base64.b64decode("".join(match["body"].split()), validate=True)
        except binascii.Error as error:
            raise ConfigInvalid(f"A block {match['label']} in {where} is not valid base64; it was damaged.") from error


def _own_key(pem: str) -> bytes:
    """The first PRIVATE KEY block of a text that may hold more."""
    found = re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", pem, re.DOTALL)
    return found.group().encode() if found else b""


def _ed25519(body: bytes, *, where: str) -> bytes:
    if len(body) != KEY_BYTES:
        raise ConfigInvalid(f"An Ed25519 key in {where} has {len(body)} bytes instead of {KEY_BYTES}. It was cut off.")
    return body


def _files(blocks: list[tuple[str, bytes]], *, where: str) -> tuple[Path, Path] | None:
    certificate, key = _named(blocks, _FILES, names=("certificate", "key"), where=where)
    return (Path(certificate), Path(key)) if certificate else None


def _named(blocks: list[tuple[str, bytes]], label: str, *, names: tuple[str, str], where: str) -> tuple[str, str]:
    """The two texts of these names in a block of JSON; both empty where there is no such block."""
    bodies = [body for found, body in blocks if found == label]
    if not bodies:
        return "", ""
    try:
        document = json.loads(bodies[0])
        return str(document[names[0]]), str(document[names[1]])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigInvalid(f"The block {label} in {where} names no {' and '.join(names)}; it was damaged.") from error


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigInvalid(f"The PEM file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path} is no PEM file: it is no ASCII text.") from error


def _require_pair(credentials: Credentials, *, where: str) -> None:
    if not credentials.key.fits(credentials.certificate.key_sha256):
        raise ConfigInvalid(f"The private key and the certificate in {where} do not belong together.")


def _block(label: str, body: bytes) -> str:
    text = base64.b64encode(body).decode()
    lines = "\n".join(text[at : at + _LINE] for at in range(0, len(text), _LINE))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"
