"""`isthmus doctor`: whatever keeps credentials from being answered is said in a sentence, against real servers."""

import json
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from aggregator.stores import open_store
from isthmus.certificates import SERVER
from isthmus.cli import main
from isthmus.credentials import Credentials, save_credentials
from isthmus.doctor.examining import examine, explained
from isthmus.doctor.findings import Finding
from isthmus.errors import AggregatorUnreachable, AggregatorUntrusted
from tests import pki
from tests.hostile.battery import certificates as bad
from tests.listeners import Behave, listening, saying, silent, speaking_tls
from tests.serving import ENROL_AT, Operator, definition, serving

URI = f"spiffe://{pki.TRUST_DOMAIN}/federation/harbour/silo/north"
HERE = x509.IPAddress(ip_address("127.0.0.1"))
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""How an HTTP/2 server begins: an empty frame of settings."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A real aggregator with a federation."""
    with serving(open_store("memory:")) as address:
        Operator(address).create()
        yield address


@pytest.fixture(scope="module")
def north(address: str) -> Credentials:
    """An enrolled silo's credentials."""
    return Operator(address).invite("north")


Told = Callable[..., dict[str, Finding]]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What is found with these credentials at this address, by name; of several of a name the last."""

    def told(address: str, credentials: Credentials, **options: object) -> dict[str, Finding]:
        return {one.name: one for one in examine(address, saved(credentials, tmp_path), **options)}  # type: ignore[arg-type]

    return told


def saved(credentials: Credentials, folder: Path) -> Path:
    """A file with these credentials."""
    file = folder / "silo.pem"
    file.unlink(missing_ok=True)
    save_credentials(file, credentials.pem)
    return file


def problems(findings: dict[str, Finding]) -> list[str]:
    """What must be mended."""
    return [name for name, finding in findings.items() if not finding.ok]


def server(*names: x509.GeneralName, **how: object) -> Credentials:
    """A server's certificate and key."""
    return bad.made([*names] or [HERE], like=pki.operator(), **{"purpose": SERVER, **how})  # type: ignore[arg-type]


def test_all_is_well(address: str, north: Credentials, told: Told) -> None:
    """A silo and an operator find nothing wrong, are told whom they are taken for, and every thing is looked at."""
    own, way = ["credentials", "permissions", "identity"], ["certificate", "address", "dns", "port"]
    found = told(address, north)

    assert [*own, "signing-key", *way, "tls", "handshake", "federation", "clock"] == list(found)
    assert [] == problems(found)
    assert "harbour is running, round 1 of 2. It knows this silo as north." == found["federation"].words
    as_operator = told(address, pki.operator())
    assert [*own, *way, "tls", "handshake", "operator"] == list(as_operator)
    assert f"{pki.operator().spiffe_id} is an operator there" in as_operator["operator"].words


def test_command_tells_people_and_programs(
    address: str, north: Credentials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with 0 where all is well, else with 1; a problem has what to do below; JSON has all."""
    file = str(saved(north, tmp_path))
    assert 0 == main(["doctor", "--aggregator", address, "--credentials", file])
    assert capsys.readouterr().out.endswith("All is well.\n")

    assert 1 == main(["doctor", "--aggregator", "127.0.0.1:1", "--credentials", file])
    said = capsys.readouterr().out
    assert "PROBLEM  port        Nothing answers at port 1 of 127.0.0.1" in said
    assert "\n                     The machine is there, and no program listens at that port." in said

    assert 1 == main(["doctor", "--aggregator", "127.0.0.1:1", "--credentials", file, "--json"])
    *_, last = json.loads(capsys.readouterr().out)
    assert ("port", "problem", "127.0.0.1:1") == (last["name"], last["verdict"], last["where"])
    assert "the connection was refused" == last["measured"]

    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--aggregator", address])
    assert 2 == ended.value.code


def test_foreign_certificate_is_turned_away(address: str, north: Credentials, told: Told) -> None:
    """What a gRPC server does not say is said here: it closed after our certificate; issuer, dates and URIs of that."""
    found = told(address, bad.made([bad.uri(URI)], like=north, authority=bad.stranger()))

    assert ["handshake"] == problems(found)
    words = found["handshake"].words
    assert "closed the connection without a reason after our certificate" in words
    assert "issued by " in words
    assert ", valid from 20" in words
    assert f"for {URI}" in words
    assert "Does the operator trust that issuer" in found["handshake"].todo


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda n: bad.made([bad.uri(URI)], like=n, start=-2 * bad.DAY, end=-bad.DAY), ["certificate", "handshake"]),
        (lambda n: bad.made([bad.uri(URI)], like=n, start=bad.DAY, end=2 * bad.DAY), ["certificate", "handshake"]),
        (lambda n: bad.server_only(URI, like=n), ["usage", "handshake"]),
        (lambda n: bad.made([], like=n, common_name="north"), ["identity", "federation"]),
        (lambda n: bad.made([bad.uri(URI), bad.uri(f"{URI}-2")], like=n), ["identity", "federation"]),
        (lambda n: bad.made([bad.uri(URI)], like=n), ["federation"]),
    ],
    ids=["expired", "not yet valid", "for servers", "no URI", "two URIs", "not enrolled"],
)
def test_wrong_certificate_is_told_twice(
    address: str, north: Credentials, told: Told, *, build: Callable[[Credentials], Credentials], names: list[str]
) -> None:
    """What is wrong with a certificate is seen in it, and what the aggregator makes of it comes behind."""
    assert names == problems(told(address, build(north)))


def test_what_the_aggregator_answers_is_the_last_finding(address: str, north: Credentials, told: Told) -> None:
    """A revoked silo, an unknown federation, a silo that asks as an operator: the answer, and what to do."""
    gone = Operator(address).invite("gone")
    Operator(address).revoke("gone")
    nameless = pki.issued(north.spiffe_id)

    for finding, words, todo in (
        (told(address, gone)["federation"], "was revoked", "Ask the operator whether that is meant"),
        (told(address, north, federation="other")["federation"], "no federation 'other'", "for federation harbour"),
        (told(address, nameless)["operator"], "", "These are no operator's credentials"),
        (told(ENROL_AT[address], north)["federation"], "certificate", "That is the port of enrolment"),
    ):
        assert (False, True, True) == (finding.ok, words in finding.words, todo in finding.todo), finding


def test_other_service_is_told(north: Credentials, told: Told) -> None:
    """A gRPC server that is no aggregator is told as one that speaks another protocol."""
    with foreign_service() as place:
        finding = told(place, north)["federation"]

    assert (False, True) == (finding.ok, "speaks another protocol" in finding.words)


@contextmanager
def foreign_service() -> Iterator[str]:
    """A gRPC server with the aggregator's certificate that has no service."""
    with ThreadPoolExecutor(1) as threads:
        running = grpc.server(threads)
        port = running.add_secure_port("127.0.0.1:0", pki.server_credentials())
        running.start()
        yield f"127.0.0.1:{port}"
        running.stop(None).wait()


@pytest.mark.parametrize(
    ("made", "untrusted", "words", "todo"),
    [
        ({"authority": bad.stranger()}, True, "No authority that is trusted vouches", "theirs at all"),
        ({"name": x509.DNSName("other.example")}, True, "is for other.example, not for 127.0.0.1", "Use one of these"),
        ({"start": -2 * bad.DAY, "end": -bad.DAY}, False, "but this machine's clock says", "Correct the clock, or ask"),
        ({"start": bad.DAY, "end": 2 * bad.DAY}, False, "but this machine's clock says", "Correct the clock, or ask"),
        ({"purpose": x509.ExtendedKeyUsageOID.CLIENT_AUTH}, True, "is for clientAuth, not for servers", "one that is"),
    ],
    ids=["authority", "name", "expired", "not yet", "for callers"],
)
def test_servers_certificate_is_judged(
    north: Credentials, told: Told, *, made: dict[str, object], untrusted: bool, words: str, todo: str
) -> None:
    """Each thing that is wrong with the server's certificate is told apart; ours is shown to none of them."""
    shown = threading.Event()
    name = made.pop("name", HERE)
    with listening(_noting(server(name, **made), shown)) as place:  # type: ignore[arg-type]
        found = told(place, north)

    assert ["tls"] == problems(found)
    assert (untrusted, True, True) == (
        found["tls"].untrusted,
        words in found["tls"].words,
        todo in found["tls"].todo,
    ), found["tls"]
    assert not shown.is_set()


def _noting(certificate: Credentials, shown: threading.Event) -> Behave:
    """A server that asks for certificates and notes whether one came."""
    behave = speaking_tls(certificate, authorities=pki.operator().authorities_pem)

    def noting(connection: socket.socket) -> None:
        behave(connection)
        shown.set()

    return noting


def test_alerts_are_translated(north: Credentials, told: Told) -> None:
    """Where a server says why it turns a certificate away, that is what is told."""
    strict = speaking_tls(server(), authorities=bad.stranger().pem)
    with listening(strict) as place:
        foreign = told(place, north)["handshake"]
    late = bad.made([bad.uri(URI)], like=north, start=-2 * bad.DAY, end=-bad.DAY)
    with listening(speaking_tls(server(), authorities=pki.operator().authorities_pem)) as place:
        expired = told(place, late)["handshake"]

    assert "turns this certificate away: it knows nobody who vouches for it" in foreign.words
    assert "turns this certificate away: by its clock it has expired" in expired.words


def old_tls() -> Behave:
    """A server that speaks TLS 1.1 at the most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return lambda connection: context.wrap_socket(connection, server_side=True).close()


@pytest.mark.parametrize(
    ("behave", "name", "words"),
    [
        (saying(b"220 mail.example\r\n"), "tls", "does not speak TLS"),
        (lambda connection: None, "tls", "does not speak TLS"),
        (silent, "tls", "says nothing for the TLS handshake"),
        (old_tls(), "tls", "older than 1.2 only"),
        (speaking_tls(server(), h2=False), "handshake", "but not HTTP/2, which gRPC needs"),
        (speaking_tls(server(), then=SETTINGS), "federation", "No aggregator answers there"),
    ],
    ids=["plain text", "closes", "silent", "old TLS", "no HTTP/2", "HTTP/2 and silent"],
)
def test_what_is_no_aggregator_is_told(
    north: Credentials, told: Told, *, behave: Behave, name: str, words: str
) -> None:
    """Something else at that port: what it does, up to where it stops being like an aggregator."""
    with listening(behave) as place:
        found = told(place, north)

    assert [name] == problems(found)
    assert words in found[name].words


def test_system_authorities_are_asked_where_the_address_says_so(
    north: Credentials, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tls:// the certificate is judged by whom this system trusts, as the client itself will."""
    own = bad.stranger()
    (tmp_path / "authority.pem").write_text(own.pem)
    with listening(speaking_tls(server(authority=own), then=SETTINGS)) as place:
        monkeypatch.setenv("SSL_CERT_FILE", str(pki.folder() / "authority.pem"))
        strange = told(f"tls://{place}", north)["tls"]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        trusted = told(f"tls://{place}", north)["tls"]
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
        nobody = told(f"tls://{place}", north)["tls"]

    assert (False, True, False) == (strange.ok, trusted.ok, nobody.ok)
    assert "Update this system's authorities" in strange.todo
    assert "SSL_CERT_FILE" in nobody.words


def test_one_replica_is_enough(address: str, north: Credentials, told: Told) -> None:
    """Of several endpoints each is told by itself: one that is down is a hint while another is well."""
    found = told(f"{address},127.0.0.1:1", north)

    assert [] == problems(found)
    assert "hint" == found["port"].verdict
    assert ["port", "port"] == [
        one.name for one in examine("127.0.0.1:1,127.0.0.1:2", Path("none")) if one.name == "port"
    ]


def test_clocks_are_compared(north: Credentials, told: Told) -> None:
    """Where a round has a deadline, both clocks are compared by it, and one that is far off is a problem."""
    with serving(open_store("memory:")) as place:
        Operator(place).create(definition(extra="participation.seconds = { max = 3600 }"))
        silo = Operator(place).invite("south")
        right = told(place, silo)["clock"]
        wrong = told(place, silo, now=datetime.now(UTC) + timedelta(minutes=10))["clock"]

    assert (right.ok, wrong.ok) == (True, False)
    assert "ahead of the aggregator's" in wrong.words
    assert "time server (NTP)" in wrong.todo


def test_failed_call_is_explained(address: str, north: Credentials, tmp_path: Path) -> None:
    """A call that nobody answered gets the first finding's words; another authority's certificate is no mishap."""
    away = AggregatorUnreachable("Socket closed.", retry_after_seconds=3.0)
    file = saved(north, tmp_path)
    file.chmod(0o644)

    refused = explained(away, aggregator="127.0.0.1:1", credentials=file)
    assert isinstance(refused, AggregatorUnreachable)
    assert ("port", 3.0) == (refused.details["check"], refused.retry_after_seconds)
    assert "no program listens at that port" in str(refused)
    assert explained(away, aggregator=address, credentials=file) is away
    with listening(speaking_tls(server(authority=bad.stranger()))) as place:
        untrusted = explained(away, aggregator=place, credentials=file)
    assert isinstance(untrusted, AggregatorUntrusted)
    assert "theirs at all" in str(untrusted)


@pytest.mark.parametrize("verb", [["list"], ["silo", "renew", "--federation", "harbour"]], ids=" ".join)
def test_every_verb_explains_itself(
    address: str, north: Credentials, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, verb: list[str]
) -> None:
    """A verb whose call found a closed socket says what its certificate is, and one that met a stranger says that."""
    turned_away = bad.made([bad.uri(URI)], like=north, authority=bad.stranger())
    common = ["--credentials", str(saved(turned_away, tmp_path)), "--json"]
    patience = ["--patience", "0"] if verb == ["list"] else []

    assert 1 == main([*verb, "--aggregator", address, *common, *patience])
    said = json.loads(capsys.readouterr().err)
    assert ("AGGREGATOR_UNREACHABLE", "handshake") == (said["error"], said["details"]["check"])
    assert "after our certificate" in said["message"]

    with listening(speaking_tls(server(authority=bad.stranger()))) as place:
        assert 1 == main([*verb, "--aggregator", place, *common, *patience])
    assert "AGGREGATOR_UNTRUSTED" == json.loads(capsys.readouterr().err)["error"]
