"""The way to an aggregator: names, ports and HTTP proxies, each told apart as gRPC itself would go."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.stores import open_store
from isthmus.addresses import Endpoint
from isthmus.credentials import save_credentials
from isthmus.doctor.examining import examine
from isthmus.doctor.findings import Finding
from isthmus.doctor.proxies import VARIABLES, proxy_for
from tests import pki
from tests.listeners import listening, proxying, saying
from tests.serving import Operator, Silo, definition, eventually, serving

LOGIN = "c2lsbzpzZWNyZXQ="
"""silo:secret"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies this machine has, none is asked unless a test says so."""
    for name in (*VARIABLES, "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def told(address: str, **environment: str) -> list[Finding]:
    """What is found on the way, by nobody's credentials."""
    findings = list(examine(address, Path("none.pem"), environment=environment))
    return [finding for finding in findings if finding.name not in ("credentials", "address")]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("aggregator.example", "has no port"),
        ("https://aggregator.example:1", "https:// is not how an aggregator is reached"),
        ("plaintext://aggregator.example:1", "is for this very machine alone"),
    ],
)
def test_address_that_is_none_ends_it(address: str, words: str) -> None:
    """An address that is none is the last finding, with one to write instead."""
    *_, last = examine(address, Path("none.pem"))

    assert ("address", False, True) == (last.name, last.ok, words in last.words)


def test_name_without_an_address() -> None:
    """A name that nobody knows is told with what to correct."""
    (finding,) = told("no-such-host.invalid:1")

    assert (finding.name, finding.ok) == ("dns", False)
    assert "no-such-host.invalid, the aggregator, has no address" in finding.words


def test_every_address_of_a_name_is_dialled() -> None:
    """One name may have several addresses; one that does not answer is told, and is a hint where another does."""
    listed = {str(row[4][0]) for row in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    with listening(lambda connection: None) as place:
        findings = told(f"localhost:{place.rpartition(':')[2]}")

    assert all(address in findings[0].words for address in listed)
    assert ["hint"] * (len(listed) - 1) + ["ok"] == [one.verdict for one in findings if one.name == "port"]


def test_refused_connection() -> None:
    """A port where no program listens is told as that."""
    _, finding = told("127.0.0.1:1")

    assert "Nothing answers at port 1 of 127.0.0.1, the aggregator: the connection was refused." == finding.words
    assert "no program listens at that port" in finding.todo


def test_connection_that_is_dropped() -> None:
    """A host that does not answer at all is told as what a firewall does."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        _, finding = told(f"127.0.0.1:{full.getsockname()[1]}")
        for one in waiting:
            one.close()

    assert "no answer in time" == finding.measured
    assert "A firewall that drops connections looks like this." in finding.todo


def test_unreachable_network() -> None:
    """An address to which no route leads is told as that: TCP never goes to a multicast address."""
    _, finding = told("224.0.0.1:1")

    assert "unreachable" in finding.measured
    assert "Ask your network's people about its route." in finding.todo


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy.example:3128"}, "proxy.example:3128"),
        ({"http_proxy": "http://proxy.example"}, "proxy.example:443"),
        ({"grpc_proxy": "http://one:1", "https_proxy": "http://two:2"}, "one:1"),
        ({"grpc_proxy": "", "https_proxy": "http://two:2"}, None),
        ({"https_proxy": "https://proxy.example:3128"}, None),
        ({"https_proxy": "proxy.example:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, None),
        ({"https_proxy": "http://two:2", "no_proxy": "localhost, site.example"}, None),
        ({"https_proxy": "http://two:2", "no_proxy": "other.example"}, "two:2"),
        ({"https_proxy": "http://two:2", "no_proxy": "site.example", "no_grpc_proxy": "other"}, "two:2"),
        ({"https_proxy": "http://two:2", "no_proxy": "192.0.2.0/24"}, "two:2"),
    ],
    ids=str,
)
def test_proxy_is_the_one_that_grpc_asks(environment: dict[str, str], expected: str | None) -> None:
    """Which variable counts, in which case, and what is excepted is read as gRPC reads it."""
    proxy = proxy_for(Endpoint("hub.site.example", 8443), environment)

    assert expected == (None if proxy is None else str(proxy))


def test_addresses_are_excepted_by_their_network() -> None:
    """An address in a network of no_proxy is dialled without one, and this very machine always is."""
    environment = {"https_proxy": "http://proxy.example:1", "no_proxy": "192.0.2.0/24"}

    assert proxy_for(Endpoint("192.0.2.7", 1), environment) is None
    assert proxy_for(Endpoint("127.0.0.1", 1), environment) is None
    assert proxy_for(Endpoint("198.51.100.7", 1), environment) is not None


def test_overlooked_proxy_is_a_hint() -> None:
    """Where nothing answers and a proxy is named in a way that gRPC does not read, that is said."""
    *_, upper = told("no-such-host.invalid:1", HTTPS_PROXY="http://proxy.example:1")
    *_, other = told("no-such-host.invalid:1", https_proxy="https://proxy.example:1")

    assert ("proxy", "hint") == (upper.name, upper.verdict)
    assert "HTTPS_PROXY is set; gRPC reads it in lower case alone" in upper.words
    assert "https_proxy does not begin with http://" in other.words


def test_whole_way_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy and its login, the certificate, the handshake and the call are examined behind it."""
    with serving(open_store("memory:")) as address, listening(proxying(address, login=LOGIN)) as place:
        Operator(address).create()
        save_credentials(tmp_path / "silo.pem", Operator(address).invite("north").pem)
        monkeypatch.setenv("https_proxy", f"http://silo:secret@{place}")
        findings = list(examine("aggregator.test:8443", tmp_path / "silo.pem"))

    assert [] == [finding for finding in findings if not finding.ok]
    assert f"https_proxy names the proxy {place} for aggregator.test:8443." in [finding.words for finding in findings]
    assert "federation" in {finding.name for finding in findings}


@pytest.mark.parametrize(
    ("behave", "login", "words", "todo"),
    [
        (proxying("", login=LOGIN), "", "407 Proxy Authentication Required", "a login, which is missing"),
        (proxying("", login=LOGIN), "silo:wrong@", "407 Proxy Auth", "a login, which is not the right one"),
        (proxying("", refusal=b"HTTP/1.1 403 Forbidden\r\n\r\n"), "", "403 Forbidden", "allow CONNECT to"),
        (saying(b"220 mail.example\r\n\r\n"), "", "220 mail.example", "That is no HTTP proxy."),
        (lambda connection: None, "", "does not answer to CONNECT", "Is that a proxy?"),
    ],
    ids=["no login", "wrong login", "forbidden", "no proxy", "closes"],
)
def test_proxy_that_does_not_connect(behave: object, login: str, words: str, todo: str) -> None:
    """What a proxy answers is told with what to do: a login, its administrator, or an exception."""
    with listening(behave) as place:  # type: ignore[arg-type]
        *_, last = told("aggregator.test:8443", https_proxy=f"http://{login}{place}")

    assert ("proxy", False) == (last.name, last.ok)
    assert words in last.words
    assert todo in last.todo


def test_proxy_that_is_down() -> None:
    """A proxy where nothing answers is told as the proxy, with the variable that names it."""
    *_, last = told("aggregator.test:8443", https_proxy="http://127.0.0.1:1")

    assert ("port", False) == (last.name, last.ok)
    assert "the proxy that https_proxy names: the connection was refused" in last.words


def test_own_name_server_is_not_looked_at() -> None:
    """A name that another name server knows is left to gRPC."""
    (finding,) = told("dns://127.0.0.1:53/aggregator.test:8443")

    assert ("dns", True) == (finding.name, finding.ok)
    assert "is not looked at here" in finding.words


def test_credentials_that_cannot_be_read_do_not_hide_the_way() -> None:
    """Without credentials the way is examined all the same, and the handshake is not."""
    with listening(lambda connection: None) as place:
        names = [finding.name for finding in examine(place, Path("none.pem"))]

    assert ["credentials", "address", "dns", "port"] == names


def test_finished_federation_has_no_round_beyond_its_last(tmp_path: Path) -> None:
    """At the end of the way, a federation that is finished is told with its last round, as `isthmus status` does."""
    with serving(open_store("memory:")) as address:
        operator = Operator(address)
        operator.create(definition(rounds=1, quorum=1))
        north = Silo(address, operator.invite("north"))
        north.push(north.delta())
        assert eventually(lambda: north.round().round == 2)
        save_credentials(tmp_path / "north.pem", north.credentials.pem if north.credentials else "")
        found = {finding.name: finding.words for finding in examine(address, tmp_path / "north.pem")}

    assert found["federation"].startswith("harbour is finished, round 1 of 1.")


def test_errors_stand_alone_on_standard_error(tmp_path: Path) -> None:
    """Where a handshake fails again and again, --json leaves one object on standard error, and no word of gRPC's."""
    file = tmp_path / "operator.pem"
    save_credentials(file, pki.operator().pem)
    with listening(saying(b"SSH-2.0-OpenSSH_9.6\r\n")) as place:
        argv = ["list", "--aggregator", place, "--credentials", str(file), "--patience", "1", "--json"]
        ended = subprocess.run([sys.executable, "-m", "isthmus", *argv], capture_output=True, text=True, timeout=60)

    assert (1, "AGGREGATOR_UNREACHABLE") == (ended.returncode, json.loads(ended.stderr)["error"])
