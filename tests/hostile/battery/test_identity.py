"""Battery E over the wire: callers who are not who they say, against a real aggregator over mutual TLS."""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest
from cryptography import x509

from isthmus import errors
from isthmus.addresses import parse_address
from isthmus.certificates import read_certificates
from isthmus.channel import anonymous_channel
from isthmus.credentials import Credentials
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc
from tests import pki
from tests.hostile.battery import certificates as bad
from tests.hostile.battery.site import Site
from tests.hostile.forged import DATA, A, B, payload_of
from tests.serving import Operator, Silo, chunk_part, header_part, refusal

NORTH = f"spiffe://{pki.TRUST_DOMAIN}/federation/identity/silo/north"


@pytest.fixture(scope="module")
def north(site: Site) -> Silo:
    """An honest silo, whom the others pretend to be."""
    site.federation("identity")
    return site.silo("north", federation="identity")


def names(*found: x509.GeneralName, **wrong: object) -> Callable[[Credentials], Credentials]:
    """Makes credentials whose certificate has these names and is wrong in this way."""
    return lambda like: bad.made(list(found), like=like, **wrong)  # type: ignore[arg-type]


TURNED_AWAY: dict[str, Callable[[Credentials], Credentials]] = {
    "E03-certificate of another authority": lambda like: bad.made(
        [bad.uri(NORTH)], like=like, authority=bad.stranger()
    ),
    "E04-expired": names(bad.uri(NORTH), start=-2 * bad.DAY, end=-bad.DAY),
    "E05-not yet valid": names(bad.uri(NORTH), start=bad.DAY, end=2 * bad.DAY),
    "E06-for servers alone": lambda like: bad.server_only(NORTH, like=like),
}


@pytest.mark.parametrize("name", TURNED_AWAY)
def test_handshake_turns_away(north: Silo, name: str) -> None:
    """No call of such a caller reaches the service: gRPC tells it only as a broken connection."""
    assert north.credentials is not None
    caller = Silo(north.address, TURNED_AWAY[name](north.credentials), federation="identity")

    error = refusal(caller.round)

    assert errors.AggregatorUnreachable is type(error)
    assert 1 == north.round().round


def test_e01_plaintext_to_the_tls_port(north: Silo) -> None:
    """E01: bytes that are no handshake get no answer of ours."""
    host, _, port = north.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64))
        raw.settimeout(10)
        answer = raw.recv(4096)

    assert not answer.startswith(b"HTTP")
    with grpc.insecure_channel(north.address) as channel:
        stub = aggregator_pb2_grpc.AggregatorServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetRound(aggregator_pb2.GetRoundRequest(federation="identity"), timeout=10)
    assert grpc.StatusCode.UNAVAILABLE is caught.value.code()


def test_e02_no_certificate(site: Site, north: Silo) -> None:
    """E02: at the members' port no handshake comes about; at the newcomers' a call is UNAUTHENTICATED."""
    authorities = pki.operator().authorities_pem
    told = []
    for address in (north.address, site.enrol_at):
        with anonymous_channel(parse_address(address), authorities) as channel:
            stub = aggregator_pb2_grpc.AggregatorServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetRound(aggregator_pb2.GetRoundRequest(federation="identity"), timeout=10)
            told.append(caught.value.code())

    assert [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED] == told


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_e07_old_tls(north: Silo, version: ssl.TLSVersion) -> None:
    """E07: TLS below 1.2 is no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = version
    host, _, port = north.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


def test_e08_server_of_another_authority(north: Silo) -> None:
    """E08: a silo that trusts another authority than the server's sends nothing."""
    assert north.credentials is not None
    fooled = bad.made([bad.uri(NORTH)], like=north.credentials)
    elsewhere = tuple(read_certificates(bad.stranger().pem, where="another authority"))
    caller = Silo(north.address, replace(fooled, authorities=elsewhere), federation="identity")

    assert errors.AggregatorUnreachable is type(refusal(caller.round))


UNKNOWN: dict[str, tuple[Callable[[Credentials], Credentials], type[errors.IsthmusError], str]] = {
    "E12-right common name, no URI": (names(common_name="north"), errors.IdentityInvalid, "spiffe_missing"),
    "E13-two URIs": (
        names(bad.uri(NORTH), bad.uri(NORTH.replace("north", "south"))),
        errors.IdentityInvalid,
        "spiffe_ambiguous",
    ),
    "E14-DNS name like a silo's": (names(bad.dns("north.identity")), errors.IdentityInvalid, "spiffe_missing"),
    "E14-URI that is no SPIFFE": (names(bad.uri("https://north/identity")), errors.IdentityInvalid, "spiffe_malformed"),
    "E14-upper case": (names(bad.uri(NORTH.replace("north", "North"))), errors.IdentityInvalid, "spiffe_malformed"),
    "E14-path traversal": (
        names(bad.uri(NORTH.replace("north", "x/../north"))),
        errors.IdentityInvalid,
        "spiffe_malformed",
    ),
    "E14-escaped letter": (
        names(bad.uri(NORTH.replace("north", "%6eorth"))),
        errors.IdentityInvalid,
        "spiffe_malformed",
    ),
    "E14-another trust domain": (
        names(bad.uri(NORTH.replace(pki.TRUST_DOMAIN, "elsewhere.example"))),
        errors.IdentityInvalid,
        "authority",
    ),
    "E14-a silo's own name with another key": (names(bad.uri(NORTH)), errors.FederationUnknown, ""),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_certificate_that_names_nobody(north: Silo, name: str) -> None:
    """TLS lets it in, for the authority vouches for it; the first call tells that it names no silo of ours."""
    build, expected, check = UNKNOWN[name]
    assert north.credentials is not None
    caller = Silo(north.address, build(north.credentials), federation="identity")

    error = refusal(caller.round)

    assert expected is type(error), error
    assert check in ("", error.details.get("check"))
    assert 1 == north.round().round


def test_e09_e10_revoked(site: Site) -> None:
    """E09: a revoked silo's next call is refused; E10: its open stream ends within seconds, and nothing is counted."""
    site.federation("revoked")
    silo = site.silo("soon-gone", federation="revoked")
    delta = silo.delta(payload=payload_of({"a": A, "b": B}, DATA))
    began = []

    def dripping():
        yield header_part(delta)
        for at in range(len(delta.payload)):
            yield chunk_part(at, delta.payload[at : at + 1])
            time.sleep(0.1)
            if at == 3:
                site.operator.revoke("soon-gone", federation="revoked")
                began.append(time.monotonic())

    assert errors.SiloNotEnrolled is type(refusal(lambda: silo.send(dripping())))
    assert time.monotonic() - began[0] < 5
    assert errors.SiloNotEnrolled is type(refusal(silo.round))
    assert not [name for name in site.written("revoked") if name.startswith("rounds/")]


def test_e11_revoked_after_it_contributed(site: Site) -> None:
    """E11: what was receipted before the revocation stays counted, as the receipt says; the act is on record."""
    site.federation("after", quorum=2)
    first, second = site.silo("first", federation="after"), site.silo("second", federation="after")
    receipt = first.push(first.delta(payload=payload_of({"a": A, "b": B}, b"\0" * 32 + DATA[:4])))
    site.operator.revoke("first", federation="after")
    second.push(second.delta(payload=payload_of({"a": A, "b": B}, b"\0" * 28 + DATA[:8])))

    assert 2 == second.round(after_round=1, wait_seconds=20).round
    assert ["first", "second"] == list(second.pull(number=1)[0].silos)
    assert receipt.counted_in == 1


@pytest.mark.parametrize("call", ["round", "pull", "push", "status"])
def test_e15_other_federation_is_not_there(site: Site, north: Silo, call: str) -> None:
    """E15: every call on a federation one is not in gets word for word the answer of one that does not exist."""
    if call == "round":
        site.federation("secret")
    assert north.credentials is not None
    texts = set()
    for federation in ("secret", "nowhere"):
        other = Silo(north.address, north.credentials, federation=federation)
        delta = north.delta(payload=payload_of({"a": A, "b": B}, DATA)).but(federation=federation)
        tries = {
            "round": other.round,
            "pull": lambda other=other: other.pull(number=0),
            "push": lambda other=other, delta=delta: other.push(delta),
            "status": lambda other=other, delta=delta: other.push_status(delta),
        }
        error = refusal(tries[call])
        assert errors.FederationUnknown is type(error)
        texts.add(str(error).replace(federation, "*"))

    assert 1 == len(texts)


def test_e16_silo_is_no_operator(north: Silo) -> None:
    """E16: a silo's certificate opens nothing of the operators'."""
    assert errors.OperatorOnly is type(refusal(Operator(north.address, north.credentials).status))


OPERATORS: dict[str, tuple[Callable[[Credentials], Credentials], type[errors.IsthmusError]]] = {
    "E17-expired": (
        names(bad.uri(f"spiffe://{pki.TRUST_DOMAIN}/operator/ada"), start=-2 * bad.DAY, end=-bad.DAY),
        errors.AggregatorUnreachable,
    ),
    "E17-of another trust domain": (names(bad.uri("spiffe://elsewhere/operator/ada")), errors.IdentityInvalid),
    "E17-of another authority": (
        lambda like: bad.made(
            [bad.uri(f"spiffe://{pki.TRUST_DOMAIN}/operator/ada")], like=like, authority=bad.stranger()
        ),
        errors.AggregatorUnreachable,
    ),
    "E17-silo with an operator's path within": (
        names(bad.uri(f"spiffe://{pki.TRUST_DOMAIN}/federation/operator/silo/operator")),
        errors.OperatorOnly,
    ),
    "E17-operator's path with more behind": (
        names(bad.uri(f"spiffe://{pki.TRUST_DOMAIN}/operator/ada/x")),
        errors.OperatorOnly,
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_e17_operators_are_certificates_of_this_trust_domain(north: Silo, name: str) -> None:
    """E17 (there are no JWTs here): whatever else looks like an operator is none."""
    build, expected = OPERATORS[name]
    caller = Operator(north.address, build(pki.operator()))

    assert expected is type(refusal(lambda: caller.status("identity")))


def test_e18_claims_in_metadata_are_ignored(site: Site, north: Silo) -> None:
    """E18: whoever shows another silo's certificate in a call's metadata is still who the handshake said."""
    south = site.silo("south", federation="identity")
    assert north.credentials is not None
    south.metadata = (("isthmus-certificate-bin", north.credentials.certificate.der),)  # type: ignore[assignment]

    assert "south" == south.push(south.delta(payload=payload_of({"a": A, "b": B}, DATA[4:] + DATA[:4]))).silo
