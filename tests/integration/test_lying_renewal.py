"""What a silo does not put in the place of its credentials, whatever an aggregator answers when it renews."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from aggregator.setup import read_signing_key
from isthmus.channel import Connection
from isthmus.credentials import CredentialsFile, load_credentials, save_credentials
from isthmus.enrolling import renew
from isthmus.errors import AggregatorUntrusted
from isthmus.keys import PublicKey, new_tls_key, requested_key
from isthmus.signatures import public_key_of, signer, trust_statement
from isthmus.spiffe import silo_spiffe_id
from isthmus.v1 import enrolment_pb2, enrolment_pb2_grpc
from tests import pki

STRANGER = bytes([9]) * 32
"""The signing key of an aggregator that is none of this silo's."""

Bend = Callable[[enrolment_pb2.Enrolment], object]


def certificate(public: PublicKey, *, silo: str = "north") -> str:
    """What the authority issues to a silo for that key."""
    who = silo_spiffe_id(pki.TRUST_DOMAIN, federation="harbour", silo=silo)
    return pki.authority().issue_client(public, who, now=datetime.now(UTC), days=1)


class Renewing(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Renews as an aggregator does, bends its answer, and signs what came of it with its own key or another one."""

    def __init__(self, bend: Bend, *, silo: str = "north", key: bytes = b"") -> None:
        self._bend = bend
        self._silo = silo
        self._key = key

    def Renew(self, request: enrolment_pb2.RenewRequest, context: grpc.ServicerContext) -> enrolment_pb2.RenewResponse:
        """See enrolment.proto."""
        issued = certificate(requested_key(request.signing_request_der), silo=self._silo)
        keys = pki.operator().aggregator_keys
        answer = enrolment_pb2.Enrolment(silo="north", certificate_pem=issued, aggregator_keys=keys)
        self._bend(answer)
        statement = trust_statement(
            federation="harbour",
            silo=answer.silo,
            certificate_pem=answer.certificate_pem,
            authorities_pem=answer.authorities_pem,
            aggregator_keys=answer.aggregator_keys,
        )
        answer.signature = signer(self._key or read_signing_key(pki.folder() / "signing-key.pem"))(statement)
        return enrolment_pb2.RenewResponse(enrolment=answer)


@contextmanager
def renewing(service: Renewing, file: Path) -> Iterator[tuple[Connection, CredentialsFile]]:
    """A silo's connection to it."""
    save_credentials(file, pki.silo("north").pem)
    with ThreadPoolExecutor(max_workers=2) as threads:
        server = grpc.server(threads)
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(service, server)
        port = server.add_secure_port("127.0.0.1:0", pki.server_credentials())
        server.start()
        source = CredentialsFile(file)
        connection = Connection(f"127.0.0.1:{port}", source)
        try:
            yield connection, source
        finally:
            connection.close()
            server.stop(grace=None).wait()


def test_honest_answer_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """Nothing bent: the next certificate is written."""
    file = tmp_path / "silo.pem"
    with renewing(Renewing(lambda answer: None), file) as (connection, source):
        old = source.current().certificate.key_sha256
        renew(connection, source, federation="harbour")

    assert old != load_credentials(file).certificate.key_sha256


LIES = {
    "a certificate for another key": Renewing(
        lambda answer: setattr(answer, "certificate_pem", certificate(new_tls_key().private.public_key()))
    ),
    "no certificate": Renewing(lambda answer: answer.ClearField("certificate_pem")),
    "half a certificate": Renewing(lambda answer: setattr(answer, "certificate_pem", answer.certificate_pem[:300])),
    "another silo's certificate": Renewing(lambda answer: None, silo="south"),
    "a key that is cut off": Renewing(lambda answer: answer.aggregator_keys.append(bytes(31))),
    "no key": Renewing(lambda answer: answer.ClearField("aggregator_keys")),
    "keys of its own, signed by them": Renewing(
        lambda answer: answer.aggregator_keys.extend([public_key_of(STRANGER)]), key=STRANGER
    ),
    "authorities that are none": Renewing(lambda answer: setattr(answer, "authorities_pem", "none")),
}
"""By what is wrong with the answer."""


@pytest.mark.parametrize("service", LIES.values(), ids=LIES)
def test_answer_of_no_use_leaves_the_old_credentials(tmp_path: Path, service: Renewing) -> None:
    """The old file stands, byte for byte: a silo whose only key went with it could never call again."""
    file = tmp_path / "silo.pem"
    with renewing(service, file) as (connection, source):
        before = file.read_bytes()
        with pytest.raises(AggregatorUntrusted) as caught:
            renew(connection, source, federation="harbour")

    assert ("renewal", before) == (caught.value.details["check"], file.read_bytes())
