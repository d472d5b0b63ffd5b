"""One authority for all tests of a process, as `isthmus ca init` makes it, and credentials of whoever a test needs."""

import atexit
import io
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import grpc

from aggregator.ledger import Ledger, enrolment
from aggregator.ledger.records import CredentialRecord, SiloRecord
from aggregator.rpc.seal import Seal
from aggregator.setup import read_signing_key
from isthmus.authority import Authority, load_authority
from isthmus.certificates import read_certificates
from isthmus.cli import main
from isthmus.credentials import Credentials, load_credentials
from isthmus.invitation import secret_digest
from isthmus.keys import new_signing_key, new_tls_key
from isthmus.signatures import public_key_of
from isthmus.spiffe import SpiffeId, parse_spiffe, silo_spiffe_id

TRUST_DOMAIN = "test.example"
HOSTS = ("localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1", "aggregator.test")


@cache
def folder() -> Path:
    """What `isthmus ca init` wrote; for this process alone."""
    made = Path(_home().name) / "pki"
    hosts = [argument for host in HOSTS for argument in ("--host", host)]
    with redirect_stdout(io.StringIO()):
        assert main(["ca", "init", "--out", str(made), "--trust-domain", TRUST_DOMAIN, *hosts]) == 0
    return made


@cache
def authority() -> Authority:
    """The authority itself."""
    pems = [(folder() / name).read_bytes() for name in ("authority.pem", "authority-key.pem")]
    return load_authority(*pems, where="the tests' authority")


@cache
def operator() -> Credentials:
    """The operator's credentials."""
    return load_credentials(folder() / "operator.pem")


def server_credentials() -> grpc.ServerCredentials:
    """Mutual TLS for a server of a test's own."""
    made = folder()
    pair = ((made / "server-key.pem").read_bytes(), (made / "server.pem").read_bytes())
    return grpc.ssl_server_credentials([pair], (made / "authority.pem").read_bytes(), require_client_auth=True)


def seal() -> Seal:
    """Signs as the aggregator does whose key the tests' silos know."""
    return Seal(read_signing_key(folder() / "signing-key.pem"))


def settings() -> dict[str, object]:
    """An aggregator's settings about identity, with TLS and enrolment."""
    made = folder()
    return {
        "trust_domain": TRUST_DOMAIN,
        "client_authorities": made / "authority.pem",
        "signing_key": made / "signing-key.pem",
        "tls": {
            "certificate": made / "server.pem",
            "key": made / "server-key.pem",
            "authority": made / "authority.pem",
        },
        "enrolment": {
            "listen": "127.0.0.1:0",
            "certificate": made / "authority.pem",
            "key": made / "authority-key.pem",
        },
    }


def toml(others: str = "") -> str:
    """The same as TOML, with other settings between the keys and the tables."""
    fields = settings()
    keys = [f'{name} = "{value}"' for name, value in fields.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{name}]", *(f'{key} = "{value}"' for key, value in table.items())])
        for name, table in fields.items()
        if isinstance(table, dict)
    ]
    return "\n".join([*keys, others, *tables]) + "\n"


def issued(who: str | SpiffeId, *, days: float = 1.0, now: datetime | None = None) -> Credentials:
    """Credentials that the authority issues to whoever is named, enrolled or not."""
    identity = parse_spiffe(who) if isinstance(who, str) else who
    key = new_tls_key()
    pem = authority().issue_client(key.private.public_key(), identity, now=now or datetime.now(UTC), days=days)
    return Credentials(
        key=key,
        chain=tuple(read_certificates(pem, where="the tests' authority")),
        authorities=operator().authorities,
        signing_key=new_signing_key(),
        aggregator_keys=operator().aggregator_keys,
    )


def silo(name: str, *, federation: str = "harbour", skew_days: float = 0.0) -> Credentials:
    """Credentials of a silo's form, which nobody has enrolled; valid for a day, or for so many more on both sides."""
    who = silo_spiffe_id(TRUST_DOMAIN, federation=federation, silo=name)
    made = issued(who, now=datetime.now(UTC) - timedelta(days=skew_days), days=1 + 2 * skew_days)
    return replace(made, federation=federation, silo=name)


def enrol(ledger: Ledger, silo: str, credentials: Credentials, *, federation: str, now: datetime) -> None:
    """Enrols a silo with these credentials by writing to the ledger, as an aggregator does when it is asked."""
    invited = SiloRecord(silo, secret_digest(silo.encode()), now, now + timedelta(days=1))
    ledger.invite(federation, invited)
    signing_key = public_key_of(credentials.signing_key)
    record = CredentialRecord(
        credential=credentials.certificate.key_sha256,
        silo=silo,
        invitation_sha256=invited.invitation_sha256,
        spiffe_id=str(credentials.spiffe_id),
        signing_key=signing_key,
        certificate=credentials.certificate.der,
        signing_key_proof=credentials.key.prove(signing_key, federation=federation),
        enrolled_at=now,
    )
    enrolment.redeem(ledger.store, federation, record)


@cache
def _home() -> "tempfile.TemporaryDirectory[str]":
    folder = tempfile.TemporaryDirectory(prefix="isthmus-tests-")
    atexit.register(folder.cleanup)  # else Python warns that nobody did
    return folder
