"""The verbs of a consortium's own authority: ca init, server, operator, signing-key. They need no aggregator."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isthmus.authority import OPERATOR_DAYS, Authority, load_authority, new_authority
from isthmus.certificates import read_certificates
from isthmus.cli.federations import read_text
from isthmus.cli.text import Answer
from isthmus.credentials import Credentials, save_credentials
from isthmus.errors import ConfigInvalid
from isthmus.keys import new_signing_key, new_tls_key
from isthmus.signatures import public_key_of
from isthmus.spiffe import SpiffeId, operator_spiffe_id

AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority-key.pem"
SERVER, SERVER_KEY = "server.pem", "server-key.pem"
SIGNING_KEY, NEXT_SIGNING_KEY = "signing-key.pem", "next-signing-key.pem"

_NAMES = (AUTHORITY, AUTHORITY_KEY, SERVER, SERVER_KEY, SIGNING_KEY, NEXT_SIGNING_KEY)

_DOMAIN = "spiffe://"


def init(arguments: Namespace) -> Answer:
    """Makes an authority, the aggregator's certificate and signing key, and the first operator's credentials."""
    folder: Path = arguments.out
    _require_free(folder)
    if f"{arguments.operator}.pem" in _NAMES:
        raise ConfigInvalid(
            f"{arguments.operator}.pem is another file here. Name the operator otherwise with --operator."
        )
    now = datetime.now(UTC)
    authority = new_authority(arguments.trust_domain, now=now)
    server_key, signing_key = new_tls_key(), new_signing_key()
    certificate = authority.issue_server(server_key, arguments.host, now=now)
    who = operator_spiffe_id(arguments.trust_domain, arguments.operator)
    operator = _operator(authority, who, signing_keys=[signing_key], now=now)
    _make_folder(folder)
    for name, pem in (
        (AUTHORITY_KEY, authority.key.pem),
        (SERVER_KEY, server_key.pem),
        (SIGNING_KEY, _signing_pem(signing_key)),
        (SERVER, certificate),
        (f"{arguments.operator}.pem", operator.pem),
        (AUTHORITY, authority.pem),  # last: whoever finds it finds all
    ):
        save_credentials(folder / name, pem)
    settings = _settings(folder, arguments.trust_domain)
    data = {"folder": str(folder), "trust_domain": arguments.trust_domain, "settings": settings}
    return Answer(
        data,
        f"The authority of trust domain {arguments.trust_domain} is in {folder}; keep {AUTHORITY_KEY} secret and "
        f"backed up. The operator's credentials are {folder / arguments.operator}.pem. The aggregator's settings "
        f"need these lines:\n\n{settings}",
    )


def server(arguments: Namespace) -> Answer:
    """Issues the aggregator's next certificate; a running aggregator takes it up by itself."""
    authority = _load(arguments.ca)
    key, now = new_tls_key(), datetime.now(UTC)
    certificate = authority.issue_server(key, arguments.host, now=now)
    for name, pem in ((SERVER_KEY, key.pem), (SERVER, certificate)):
        aside = arguments.ca / f"{name}.new"
        aside.unlink(missing_ok=True)
        save_credentials(aside, pem)
        aside.replace(arguments.ca / name)
    ends = read_certificates(certificate, where=SERVER)[0].not_after
    return Answer(
        {"certificate": str(arguments.ca / SERVER), "not_after": ends},
        f"{arguments.ca / SERVER} and {SERVER_KEY} are for {', '.join(arguments.host)} until {ends:%Y-%m-%d}. A "
        "running aggregator takes them up with the next connection; none is dropped.",
    )


def operator(arguments: Namespace) -> Answer:
    """Makes the credentials of one more operator, or new ones of the same."""
    authority = _load(arguments.ca)
    who = operator_spiffe_id(_trust_domain(arguments.ca), arguments.name)
    made = _operator(authority, who, signing_keys=_signing_keys(arguments.ca), now=datetime.now(UTC))
    out: Path = arguments.out or Path(f"{arguments.name}.pem")
    save_credentials(out, made.pem)
    ends = made.certificate.not_after
    return Answer(
        {"credentials": str(out), "spiffe_id": str(who), "not_after": ends},
        f"The credentials of {who} are in {out}, valid until {ends:%Y-%m-%d}; keep them secret.",
    )


def signing_key(arguments: Namespace) -> Answer:
    """Makes the key that is to sign receipts and manifests next."""
    old, new = public_key_of(_signing_key(arguments.ca / SIGNING_KEY)), new_signing_key()
    out = arguments.ca / NEXT_SIGNING_KEY
    save_credentials(out, _signing_pem(new))
    public = public_key_of(new).hex()
    return Answer(
        {"signing_key": str(out), "public_key": public, "former_public_key": old.hex()},
        f"The next signing key is in {out}. Silos must know it before it signs, so set at all replicas, first:\n\n"
        f'former_signing_keys = ["{public}"]\n\n'
        "Make the operators' credentials anew (isthmus ca operator). And when they have them, and every silo has "
        "renewed its certificate:\n\n"
        f'signing_key = "{out}"\nformer_signing_keys = ["{old.hex()}"]\n',
    )


def _operator(authority: Authority, who: SpiffeId, *, signing_keys: list[bytes], now: datetime) -> Credentials:
    key = new_tls_key()
    pem = authority.issue_client(key.private.public_key(), who, now=now, days=OPERATOR_DAYS)
    return Credentials(
        key=key,
        chain=tuple(read_certificates(pem, where="the authority's answer")),
        authorities=tuple(read_certificates(authority.pem, where="the authority")),
        aggregator_keys=tuple(map(public_key_of, signing_keys)),
    )


def _signing_keys(folder: Path) -> list[bytes]:
    """The key that signs and, where it was made already, the one that is to sign next: an operator believes both."""
    following = folder / NEXT_SIGNING_KEY
    return [_signing_key(folder / SIGNING_KEY), *([_signing_key(following)] if following.exists() else [])]


def _load(folder: Path) -> Authority:
    pems = [read_text(folder / name).encode() for name in (AUTHORITY, AUTHORITY_KEY)]
    return load_authority(*pems, where=str(folder))


def _trust_domain(folder: Path) -> str:
    uris = read_certificates(read_text(folder / AUTHORITY), where=str(folder / AUTHORITY))[0].uris
    if len(uris) != 1:
        raise ConfigInvalid(f"{folder / AUTHORITY} names no trust domain; `isthmus ca init` writes one that does.")
    return uris[0].removeprefix(_DOMAIN)


def _signing_key(file: Path) -> bytes:
    try:
        key = serialization.load_pem_private_key(read_text(file).encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigInvalid(f"{file} holds no private key in PEM that can be read.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigInvalid(f"{file} is no Ed25519 key; `isthmus ca init` makes one.")
    return key.private_bytes_raw()


def _signing_pem(key: bytes) -> str:
    return (
        Ed25519PrivateKey.from_private_bytes(key)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _settings(folder: Path, trust_domain: str) -> str:
    return (
        f'trust_domain = "{trust_domain}"\n'
        f'client_authorities = "{folder / AUTHORITY}"\n'
        f'signing_key = "{folder / SIGNING_KEY}"\n\n'
        "[tls]\n"
        f'certificate = "{folder / SERVER}"\n'
        f'key = "{folder / SERVER_KEY}"\n'
        f'authority = "{folder / AUTHORITY}"\n\n'
        "[enrolment]\n"
        f'certificate = "{folder / AUTHORITY}"\n'
        f'key = "{folder / AUTHORITY_KEY}"\n'
    )


def _require_free(folder: Path) -> None:
    taken = [name for name in (AUTHORITY, AUTHORITY_KEY) if (folder / name).exists()]
    if taken:
        raise ConfigInvalid(
            f"{folder} holds {taken[0]} already: another authority would lock out everybody whom that one vouches for. "
            "Name another folder with --out."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigInvalid(
            f"The folder {folder} cannot be made: {error.strerror}. Name another with --out."
        ) from error
