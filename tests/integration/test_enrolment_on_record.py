"""What enrolments leave on record."""

import pytest

from aggregator.ledger import acts
from aggregator.stores import open_store
from isthmus.errors import InvitationInvalid
from isthmus.keys import new_signing_key, new_tls_key
from isthmus.signatures import public_key_of
from isthmus.v1 import enrolment_pb2, enrolment_pb2_grpc
from tests.serving import Operator, connected, serving, told


def request_of(secret: bytes) -> enrolment_pb2.EnrolRequest:
    """A right request, with keys of its own."""
    key, signing_key = new_tls_key(), public_key_of(new_signing_key())
    return enrolment_pb2.EnrolRequest(
        federation="harbour",
        secret=secret,
        signing_request_der=key.signing_request(),
        signing_key=signing_key,
        signing_key_proof=key.prove(signing_key, federation="harbour"),
    )


def test_enrolment_that_is_refused_or_repeated_is_not_on_record() -> None:
    """Who has a used invitation can write nothing on record, with the same keys or with others."""
    store = open_store("memory:")
    with serving(store) as address:
        operator = Operator(address)
        operator.create()
        secret = operator.invitation("fresh").secret
        request, thief = request_of(secret), request_of(secret)
        with connected(address, None) as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            for _ in range(3):
                stub.Enrol(request, timeout=10)
                with pytest.raises(InvitationInvalid, match="used already"), told():
                    stub.Enrol(thief, timeout=10)

    assert 1 == [one.act.event for one in acts.acts(store, "harbour")].count("silo.enrolled")
