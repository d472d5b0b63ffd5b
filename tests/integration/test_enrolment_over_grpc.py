"""How a site becomes a silo and stays one, over real mutual TLS: invitations, renewals, rotations, revocations."""

import os
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from aggregator.stores import Store, open_store
from isthmus import SiloClient
from isthmus.authority import new_authority
from isthmus.certificates import read_certificates
from isthmus.cli import main
from isthmus.credentials import Credentials, load_credentials, save_credentials
from isthmus.enrolling import enrol, enrol_with, is_renewal_due
from isthmus.errors import EnrolmentClosed, IdentityInvalid, InvitationInvalid, RequestInvalid, SiloNotEnrolled
from isthmus.invitation import parse_invitation
from isthmus.keys import new_signing_key, new_tls_key
from isthmus.signatures import public_key_of
from isthmus.spiffe import parse_spiffe
from isthmus.v1 import enrolment_pb2, enrolment_pb2_grpc
from tests import pki
from tests.serving import (
    ENROL_AT,
    LARGE,
    Operator,
    Silo,
    chunk_part,
    connected,
    definition,
    header_part,
    projector_of,
    refusal,
    serving,
    told,
)


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return open_store("memory:")


def request_of(operator: Operator, **fields: object) -> enrolment_pb2.EnrolRequest:
    """A right request of a newly invited silo, with other values in some fields."""
    invitation = operator.invitation("fresh", replace=True)
    key, signing_key = new_tls_key(), public_key_of(new_signing_key())
    right = {
        "federation": "harbour",
        "secret": invitation.secret,
        "signing_request_der": key.signing_request(),
        "signing_key": signing_key,
        "signing_key_proof": key.prove(signing_key, federation="harbour"),
    }
    return enrolment_pb2.EnrolRequest(**{**right, **fields})


def test_silo_enrols_by_two_commands(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`silo invite` at the operator, `silo enrol` at the site: the key never leaves it, and its calls are its own."""
    monkeypatch.chdir(tmp_path)
    with serving(store) as address:
        Operator(address).create()
        calls = ["--aggregator", address, "--credentials", str(pki.folder() / "operator.pem")]
        assert main(["silo", "invite", "north", "--out", "invitation", *calls]) == 0
        assert main(["silo", "enrol", "--token-file", "invitation"]) == 0

        said = capsys.readouterr().out
        assert 'credentials = "north.pem"' in said
        assert public_key_of(load_credentials("north.pem").signing_key).hex() in said
        assert 0o600 == Path("north.pem").stat().st_mode & 0o777
        assert load_credentials("north.pem").signing_key
        with SiloClient(address, federation="harbour", credentials="north.pem") as client:
            assert client.round().number == 1


def test_lost_answer_costs_nothing_and_a_thief_gets_nothing(store: Store) -> None:
    """The same keys may use an invitation again; other keys find it used, and change nobody's credential."""
    with serving(store) as address:
        operator = Operator(address)
        operator.create()
        request = request_of(operator)
        with connected(address, None) as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            first, second = (stub.Enrol(request, timeout=10).enrolment for _ in range(2))
            thief = request_of(operator, secret=request.secret)
            with pytest.raises(InvitationInvalid, match="replaced"), told():
                stub.Enrol(request, timeout=10)  # `request_of` invited the silo anew
            with pytest.raises(InvitationInvalid), told():
                stub.Enrol(thief, timeout=10)

    keys = [read_certificates(one.certificate_pem, where="it")[0].key_sha256 for one in (first, second)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"secret": b""}, InvitationInvalid),
        ({"secret": b"\x00" * 32}, InvitationInvalid),
        ({"federation": "nowhere"}, InvitationInvalid),
        ({"federation": "../x"}, InvitationInvalid),
        ({"signing_key": b"short"}, RequestInvalid),
        ({"signing_key": b"\x01" * 32}, RequestInvalid),
        ({"signing_key_proof": b""}, RequestInvalid),
        ({"signing_request_der": b"no request"}, RequestInvalid),
        ({"signing_request_der": new_tls_key().signing_request()}, RequestInvalid),
        ({"signing_request_der": new_tls_key().signing_request()[:-4]}, RequestInvalid),
    ],
)
def test_wrong_enrolment_is_refused(store: Store, fields: dict[str, object], expected: type[Exception]) -> None:
    """Whatever is wrong with it, it is told as such, and the right request still works afterwards."""
    with serving(store) as address:
        operator = Operator(address)
        operator.create()
        with connected(address, None) as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            with pytest.raises(expected), told():
                stub.Enrol(request_of(operator, **fields), timeout=10)
            assert "fresh" == stub.Enrol(request_of(operator), timeout=10).enrolment.silo


def test_certificate_is_renewed_before_it_ends(store: Store, tmp_path: Path) -> None:
    """A silo whose certificate is two thirds through gets the next one by itself, and both keep working."""
    now = datetime.now(UTC)
    short = {**pki.settings()["enrolment"], "certificate_days": 1 / 24}  # an hour, five minutes of it already over
    with serving(store, enrolment=short) as address:
        operator = Operator(address)
        operator.create()
        old = operator.invite("north")
        file = tmp_path / "north.pem"
        save_credentials(file, old.pem)
        assert not is_renewal_due(old.certificate, now=now)
        assert is_renewal_due(old.certificate, now=now + timedelta(minutes=45))
        assert main(["silo", "renew", "--aggregator", address, "--credentials", str(file)]) == 0

        new = load_credentials(file)
        assert (old.spiffe_id, old.signing_key) == (new.spiffe_id, new.signing_key)
        assert old.certificate.key_sha256 != new.certificate.key_sha256
        assert [1, 1] == [Silo(address, one).round().round for one in (old, new)]


def test_renewal_drops_no_stream(store: Store, tmp_path: Path) -> None:
    """A push that is under way goes on over the old certificate while the SDK takes up the new one."""
    with serving(store) as address:
        operator = Operator(address)
        operator.create(definition(quorum=1), projector=projector_of(LARGE))
        file = tmp_path / "north.pem"
        save_credentials(file, operator.invite("north").pem)
        renewed: list[str] = []

        def renew_in_the_middle(phase: str, done: int, size: int) -> None:
            if phase == "push" and not renewed:
                calls = ["--aggregator", address, "--credentials", str(file), "--federation", "harbour"]
                assert main(["silo", "renew", *calls]) == 0
                renewed.append(load_credentials(file).certificate.key_sha256)

        with SiloClient(address, federation="harbour", credentials=file, progress=renew_in_the_middle) as client:
            current = client.round()
            local = {name: tensor + 0.001 for name, tensor in client.pull(current).items()}
            receipt = client.push(current, local, num_examples=1)
            assert (1, True) == (receipt.round, bool(renewed))
            assert client.round(after_round=1, wait_seconds=20).number == 2


def test_revoked_silo_is_cut_off_at_every_replica(store: Store) -> None:
    """Revoked at one replica: its next call at another is refused, and a stream that is open ends within seconds."""
    with serving(store) as here, serving(store) as there:
        operator = Operator(here)
        operator.create(definition(quorum=1), projector=projector_of(LARGE))
        silo = Silo(there, operator.invite("north"))
        delta = silo.delta(LARGE)
        began: list[float] = []

        def dripping():
            yield header_part(delta)
            for offset in range(0, len(delta.payload), 100_000):
                yield chunk_part(offset, delta.payload[offset : offset + 100_000])
                time.sleep(0.1)
                if offset == 1_000_000:
                    operator.revoke("north")
                    began.append(time.monotonic())

        error = refusal(lambda: silo.send(dripping()))

        assert SiloNotEnrolled is type(error)
        assert time.monotonic() - began[0] < 5
        assert SiloNotEnrolled is type(refusal(silo.round))


def test_server_takes_up_its_next_certificate(store: Store, tmp_path: Path) -> None:
    """`ca server` under a running aggregator: new connections see the new certificate, an old one goes on."""
    folder = tmp_path / "pki"
    shutil.copytree(pki.folder(), folder)
    tls = {
        "certificate": folder / "server.pem",
        "key": folder / "server-key.pem",
        "authority": folder / "authority.pem",
    }
    with serving(store, tls=tls) as address:
        operator = Operator(address)
        operator.create()
        credentials = operator.invite("north")
        before = Silo(address, credentials)
        assert 1 == before.round().round

        assert main(["ca", "server", "--ca", str(folder), "--host", "elsewhere.example"]) == 0

        with pytest.raises(grpc.FutureTimeoutError):  # the new name is not this address
            grpc.channel_ready_future(connected(address, credentials)).result(timeout=2)
        assert 1 == before.round().round
        hosts = [argument for host in pki.HOSTS for argument in ("--host", host)]
        assert main(["ca", "server", "--ca", str(folder), *hosts]) == 0
        assert 1 == Silo(address, credentials).round().round


def foreign(folder: Path, uri: str) -> tuple[Path, Credentials]:
    """A member's own authority, which names no trust domain, as a PEM file; a silo's certificate of it, in files."""
    authority, key, now = new_authority("ignored", now=datetime.now(UTC)), new_tls_key(), datetime.now(UTC)
    pem = authority.issue_client(key.private.public_key(), parse_spiffe(uri), now=now, days=1)
    (folder / "member-ca.pem").write_text(authority.pem)
    (folder / "tls.crt").write_text(pem)
    (folder / "tls.key").write_text(key.pem)
    chain = tuple(read_certificates(pem, where="it"))
    return folder / "member-ca.pem", Credentials(key=key, chain=chain, authorities=pki.operator().authorities)


def test_existing_pki_works_as_well(store: Store, tmp_path: Path) -> None:
    """A silo enrols the certificate that its own authority issued, and goes on with the one that follows it."""
    uri = "spiffe://ignored/hospital/north"
    authority, credentials = foreign(tmp_path, uri)
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(pki.authority().pem + authority.read_text())
    with serving(store, client_authorities=bundle) as address:
        operator = Operator(address)
        operator.create()
        invitation = operator.invitation("north")
        enrolled = enrol_with(invitation, certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
        assert uri == str(enrolled.spiffe_id)
        silo = Silo(address, credentials)
        assert 1 == silo.round().round
        with pytest.raises(InvitationInvalid):
            enrol(invitation)
        assert [uri] == [one.spiffe_id for one in operator.status().silos]


def test_aggregator_that_issues_nothing_says_so(store: Store) -> None:
    """Without [enrolment] a silo learns that it must bring a certificate."""
    settings = {**pki.settings(), "enrolment": None}
    with serving(store, **settings) as address:
        operator = Operator(address)
        operator.create()
        with connected(address, pki.silo("stranger")) as channel, pytest.raises(EnrolmentClosed), told():
            enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enrol(request_of(operator), timeout=10)


def test_authorities_are_taken_up_when_their_file_changes(store: Store, tmp_path: Path) -> None:
    """A member's authority added to the bundle lets it in with the next connection; taken out, it is out at once."""
    authority, credentials = foreign(tmp_path, "spiffe://ignored/hospital/north")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(pki.authority().pem)
    with serving(store, client_authorities=bundle) as address:
        operator = Operator(address)
        operator.create()
        bundle.write_text(pki.authority().pem + authority.read_text())
        enrol_with(operator.invitation("north"), certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
        silo = Silo(address, credentials)
        assert 1 == silo.round().round

        bundle.write_text(pki.authority().pem)
        os.utime(bundle, ns=(1, 1))

        assert IdentityInvalid is type(refusal(silo.round))
        assert "north" in [one.silo for one in operator.status().silos]


def test_plaintext_on_loopback_believes_whoever_has_the_certificate(store: Store, tmp_path: Path) -> None:
    """With allow_plaintext the SDK says plaintext://, shows its certificate in the call, and only genuine ones open."""
    with serving(store) as address:
        Operator(address).create()
        save_credentials(tmp_path / "north.pem", Operator(address).invite("north").pem)
    plain = {**pki.settings(), "tls": None, "allow_plaintext": True}
    with serving(store, **plain) as address:
        url = f"plaintext://{address}"
        with SiloClient(url, federation="harbour", credentials=tmp_path / "north.pem") as client:
            assert client.round().number == 1
        forged = new_authority(pki.TRUST_DOMAIN, now=datetime.now(UTC))
        key, now = new_tls_key(), datetime.now(UTC)
        who = load_credentials(tmp_path / "north.pem").spiffe_id
        pem = forged.issue_client(key.private.public_key(), who, now=now, days=1)
        made = Credentials(key=key, chain=tuple(read_certificates(pem, where="it")), signing_key=new_signing_key())
        save_credentials(tmp_path / "forged.pem", made.pem)
        with (
            SiloClient(url, federation="harbour", credentials=tmp_path / "forged.pem", patience_seconds=0) as client,
            pytest.raises(IdentityInvalid, match="No authority"),
        ):
            client.round()


def test_invitation_says_where_and_whom_to_trust(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The one line carries address, enrolment address and authority, and other ones where the operator names them."""
    with serving(store) as address:
        Operator(address).create()
        calls = ["--aggregator", address, "--credentials", str(pki.folder() / "operator.pem"), "--json"]
        elsewhere = ["--address", "hub.example:443", "--enrol-at", "hub.example:1"]
        assert main(["silo", "invite", "north", *calls]) == 0
        assert main(["silo", "invite", "north", *elsewhere, *calls]) == 0

    first, second = (parse_invitation(line) for line in re.findall(r'"(isthmus1\.[^"]*)"', capsys.readouterr().out))
    authority = pki.operator().authorities[0].der
    assert (address, ENROL_AT[address], (authority,)) == (first.aggregator, first.enrol_at, first.authorities)
    assert ("hub.example:443", "hub.example:1", "north") == (second.aggregator, second.enrol_at, second.silo)


def test_sdk_renews_by_itself(store: Store, tmp_path: Path) -> None:
    """A silo that only asks for rounds never lets its certificate end."""
    minute = {**pki.settings()["enrolment"], "certificate_days": 1 / 24 / 60}  # with the skew, five sixths are over
    with serving(store, enrolment=minute) as address:
        operator = Operator(address)
        operator.create()
        file = tmp_path / "north.pem"
        old = operator.invite("north")
        save_credentials(file, old.pem)

        with SiloClient(address, federation="harbour", credentials=file) as client:
            assert client.round().number == 1

        assert old.certificate.key_sha256 != load_credentials(file).certificate.key_sha256
