"""Reaching the aggregator: each thing that can be wrong between a silo and it is told apart, with what to do."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isthmus.addresses import parse_address
from isthmus.errors import ConfigInvalid
from silo_agent.certificates import read_certificate
from silo_agent.reach import Finding, reach

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")

NOW = datetime.now(UTC) + timedelta(hours=1)
"""Within the dates of every certificate made here."""

DAMAGED = ssl.PEM_cert_to_DER_cert(
    """-----BEGIN CERTIFICATE-----
MIIBkDCCATWgAwIBAgIUa9b0xcOxxprE3oG9GYRjP7nZiU4wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjIyMTE5MDVaFw0yNjExMjQyMTE5MDVa
MA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATVjCam
onq/3Nzf36b+zINWNGc2plt5F31BsapiENfOubEMAT9CTtAqMZRHGpeZlK/gsFXz
Nmn1d2hVFBibrnlqo28wbTAdBgNVHQ4EFgQUpDdorCUF4PNAl31MfqZuXb/2xd4w
HwYDVR0jBBgwFoAUpDdorCUF4PNAl31MfqZuXb/2xd4wDwYDVR0TAQH/BAUwAwEB
/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZIzj0EAwIDSQAwRgIh
AMRkV8COFZtvyPlOBhce7KqyIPtyL6JTmIRF+4JSZM3LAiEA7VczXqK1sBWcMFDF
vcRPviQtLwGPP9NRNF8knF/+ZJo=
-----END CERTIFICATE-----
"""
)
"""A certificate whose key nobody kept."""


def make_certificate(folder: Path, names: str) -> Path:
    """A certificate for these names, valid for two days, that vouches for itself; its key lies beside it."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
        f"-addext subjectAltName={names} -keyout {folder}/key.pem -out {folder}/certificate.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For 127.0.0.1 and localhost."""
    return make_certificate(tmp_path_factory.mktemp("right"), "IP:127.0.0.1,DNS:localhost")


@contextmanager
def answering(certificate: Path | None) -> Iterator[str]:
    """The address of something that takes connections on loopback: with TLS, or saying nothing we know."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if certificate:
                        context.wrap_socket(connection, server_side=True).close()
                    else:
                        connection.sendall(b"220 mail.example\r\n")
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def last_finding(address: str, *, ca: Path | None, now: datetime = NOW) -> Finding:
    """Where reaching the address ended."""
    *_, last = reach(parse_address(address), ca_pem=ca.read_text() if ca else "", now=now)
    return last


def test_trusted_certificate_is_well(certificate: Path) -> None:
    """A certificate of the authority in the credentials, for the address used, is well, and its dates are told."""
    with answering(certificate) as address:
        finding = last_finding(address, ca=certificate)

    assert finding.ok
    assert finding.words.startswith("The certificate of 127.0.0.1, localhost is valid: ")


@pytest.mark.parametrize("days", [-1, 3])
def test_dates_are_judged_by_the_silos_clock(certificate: Path, days: int) -> None:
    """A certificate that is not valid yet, or no longer, is told with both clocks and two things to do."""
    with answering(certificate) as address:
        finding = last_finding(address, ca=certificate, now=NOW + timedelta(days=days))

    assert (finding.name, finding.ok) == ("tls", False)
    assert "Correct the clock, or ask the operator to renew the certificate." in finding.words


def test_other_names_are_listed(tmp_path: Path) -> None:
    """A certificate for other names is told with the names it has."""
    other = make_certificate(tmp_path, "DNS:other.example,IP:192.0.2.1")
    with answering(other) as address:
        finding = last_finding(address, ca=other)

    assert not finding.ok
    assert "is for other.example, 192.0.2.1, not for 127.0.0.1" in finding.words


def test_unknown_authority_is_told(certificate: Path, tmp_path: Path) -> None:
    """A certificate that the credentials' authority did not issue is not trusted, whatever it says of itself."""
    stranger = make_certificate(tmp_path, "IP:127.0.0.1")
    with answering(stranger) as address:
        finding = last_finding(address, ca=certificate)

    assert not finding.ok
    assert "No authority that is trusted vouches for the aggregator's certificate" in finding.words


def test_tls_on_one_side_alone_is_told(certificate: Path) -> None:
    """A side that speaks TLS to one that does not is told, in both directions."""
    with answering(certificate) as address:
        wanted = last_finding(address, ca=None)
    with answering(None) as address:
        missing = last_finding(address, ca=certificate)
        plain = last_finding(address, ca=None)

    assert (wanted.ok, "wants TLS" in wanted.words) == (False, True)
    assert (missing.ok, "does not speak TLS" in missing.words) == (False, True)
    assert (plain.ok, "not encrypted" in plain.words) == (True, True)


def test_system_authorities_are_asked_where_the_address_says_so(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tls:// the certificate is judged by whom this system trusts, as the client itself will."""
    with answering(certificate) as address:
        strange = last_finding(f"tls://{address}", ca=None)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = last_finding(f"tls://{address}", ca=None)
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
        nobody = last_finding(f"tls://{address}", ca=None)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with answering(None) as address:
        missing = last_finding(f"tls://{address}", ca=None)

    assert (False, True, False, False) == (strange.ok, trusted.ok, nobody.ok, missing.ok)
    assert "Update this system's authorities" in strange.words
    assert "SSL_CERT_FILE" in nobody.words
    assert "does not speak TLS, but `aggregator` begins with tls://" in missing.words


def test_every_replica_is_looked_at(certificate: Path) -> None:
    """Of several hosts each is told by itself: one that is down does not hide that another is well."""
    with answering(certificate) as address:
        findings = list(reach(parse_address(f"127.0.0.1:1,{address}"), ca_pem=certificate.read_text(), now=NOW))

    expected = [("dns", True), ("port", False), ("dns", True), ("port", True), ("tls", True)]
    assert expected == [(finding.name, finding.ok) for finding in findings]


def test_closed_port_and_unknown_name_end_it() -> None:
    """A port where nothing answers, and a name without an address, are each the last thing that is looked at."""
    with answering(None) as address:
        pass

    assert [finding.name for finding in reach(parse_address(address), ca_pem="", now=NOW)] == ["dns", "port"]
    assert [finding.name for finding in reach(parse_address("no-such-host.invalid:1"), ca_pem="", now=NOW)] == ["dns"]


def test_certificate_is_read(certificate: Path) -> None:
    """Dates and names are those that were asked for."""
    found = read_certificate(ssl.PEM_cert_to_DER_cert(certificate.read_text()))

    assert found.names == ("127.0.0.1", "localhost")
    assert found.not_after - found.not_before == timedelta(days=2)
    assert abs(found.not_before - NOW) < timedelta(hours=3)


@given(st.binary(max_size=200))
@example(b"\x30\x80")
@example(b"\x30\x84\xff\xff\xff\xff")
def test_no_bytes_are_more_than_a_refusal(content: bytes) -> None:
    """Whatever is presented as a certificate, the answer is one sentence."""
    with pytest.raises(ConfigInvalid, match=r"no X\.509 certificate"):
        read_certificate(content)


@given(position=st.integers(0, 400), byte=st.integers(0, 255))
def test_damaged_certificates_are_read_or_refused(position: int, byte: int) -> None:
    """A real certificate with one byte changed is read or refused, and never anything else."""
    content = bytearray(DAMAGED)
    content[position % len(content)] = byte
    with suppress(ConfigInvalid):
        read_certificate(bytes(content))
