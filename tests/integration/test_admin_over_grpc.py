"""What operators call: creation, states, silos, status, lineage and export; and who may call what."""

import hashlib

import numpy as np
import pytest

from isthmus.errors import (
    CredentialMissing,
    DeltaNotFinite,
    FederationExists,
    FederationFinished,
    FederationInvalid,
    FederationUnknown,
    FinishMissing,
    HeaderInvalid,
    IdentityInvalid,
    Incomplete,
    NameInvalid,
    OffsetMismatch,
    OffsetOutOfRange,
    OperatorOnly,
    PayloadDigestMismatch,
    PayloadMalformed,
    PayloadTooLarge,
    ProjectorUnknown,
    RequestInvalid,
    SiloExists,
    SiloNotEnrolled,
    SiloUnknown,
    SpecMismatch,
)
from isthmus.v1 import admin_pb2, aggregator_pb2, projector_pb2
from isthmus.wire import spec_from_proto
from tests import pki
from tests.rosters import TINY, payload_bytes
from tests.serving import LARGE, Operator, Silo, definition, projector_of, refusal

PAUSED = aggregator_pb2.FEDERATION_STATE_PAUSED
RUNNING = aggregator_pb2.FEDERATION_STATE_RUNNING
FINISHED = aggregator_pb2.FEDERATION_STATE_FINISHED

PROJECTOR = projector_of(TINY)
NOT_FINITE = payload_bytes(np.array([0.0] * 8 + [np.nan], np.float32), TINY)


@pytest.fixture
def operator(address):
    """Its operator."""
    return Operator(address)


def test_creation_gives_the_spec_and_can_be_repeated(operator):
    """A federation is created with the spec of its projector; the identical creation succeeds and changes nothing."""
    first, second = operator.create(), operator.create()

    assert ("harbour", True) == (first.federation, first.created)
    assert TINY == spec_from_proto(first.spec) == spec_from_proto(second.spec)
    assert not second.created


def test_other_content_under_the_same_name_is_refused(operator):
    """A federation's definition and projector never change; another one needs another name."""
    operator.create()

    assert FederationExists is type(refusal(lambda: operator.create(definition(rounds=9))))
    assert FederationExists is type(refusal(lambda: operator.create(projector=projector_of(LARGE))))


@pytest.mark.parametrize(
    ("toml", "word"),
    [
        ("name = ", "TOML"),
        (definition("Harbour!"), "name"),
        (definition(extra="colour = 1"), "colour"),
        (definition(rounds=0), "rounds"),
        (definition(quorum=9), "participation.silos"),
        (definition(extra='strategy.rule.name = "majority"'), "majority"),
        (definition(extra='strategy.server_optimizer.name = "magic"'), "magic"),
        (definition(extra='strategy.rule = { name = "trimmed_mean", trim_fraction = 7 }'), "trim_fraction"),
        ("# " + "x" * (256 << 10), "262144"),
    ],
)
def test_wrong_definition_is_refused_by_its_key(operator, toml, word):
    """Every mistake in the TOML is told by the key, and leaves no federation."""
    error = refusal(lambda: operator.create(toml))

    assert (FederationInvalid, True) == (type(error), word in str(error))
    assert 0 == len(operator.call("ListFederations", admin_pb2.ListFederationsRequest()).federations)


@pytest.mark.parametrize(
    ("projector", "fields", "expected"),
    [
        (PROJECTOR, {"projector_digest": b"x" * 32}, PayloadDigestMismatch),
        (PROJECTOR, {"projector_size_bytes": 0}, PayloadTooLarge),
        (PROJECTOR, {"projector_size_bytes": 2**60}, PayloadTooLarge),
        (PROJECTOR, {"projector_size_bytes": len(PROJECTOR) + 1}, Incomplete),
        (PROJECTOR, {"projector_size_bytes": len(PROJECTOR) - 1}, PayloadTooLarge),
        (PROJECTOR, {"toml": b"\xff"}, FederationInvalid),
        (PROJECTOR + b"x", {}, PayloadMalformed),
        (b"PK\x03\x04" * 40, {}, PayloadMalformed),
        (PROJECTOR.replace(b"F32", b"F16"), {}, (SpecMismatch, PayloadMalformed)),
        (NOT_FINITE, {}, DeltaNotFinite),
    ],
)
def test_wrong_projector_leaves_no_federation(operator, projector, fields, expected):
    """An initial projector that is not what was announced, or no projector, creates nothing."""
    assert isinstance(refusal(lambda: operator.create(projector=projector, **fields)), expected)
    assert FederationUnknown is type(refusal(operator.status))


def test_creation_in_the_wrong_order_is_refused(operator):
    """Definition, chunks in order, finish: anything else creates nothing."""
    part, chunk = admin_pb2.CreateFederationRequest, projector_pb2.Chunk
    head = part(
        definition=admin_pb2.FederationDefinition(
            toml=definition().encode(),
            projector_digest=hashlib.sha256(PROJECTOR).digest(),
            projector_size_bytes=len(PROJECTOR),
        )
    )
    for parts, expected in [
        ([], RequestInvalid),
        ([part(chunk=chunk(data=b"x"))], RequestInvalid),
        ([head, head], HeaderInvalid),
        ([head, part(chunk=chunk(data=PROJECTOR))], FinishMissing),
        ([head, part(chunk=chunk(data=PROJECTOR, offset_bytes=1))], OffsetMismatch),
    ]:
        assert expected is type(refusal(lambda parts=parts: operator.call("CreateFederation", iter(parts))))
    assert FederationUnknown is type(refusal(operator.status))


def test_states_follow_the_operator_and_finished_is_final(operator):
    """Paused and running alternate, the same state twice is no error, and nothing leads back from finished."""
    operator.create()
    for state in (PAUSED, PAUSED, RUNNING, FINISHED, FINISHED):
        assert state == operator.set_state(state).state
        assert state == operator.status().summary.state

    assert FederationFinished is type(refusal(lambda: operator.set_state(RUNNING)))
    assert RequestInvalid is type(refusal(lambda: operator.set_state(0)))
    assert RequestInvalid is type(refusal(lambda: operator.set_state(PAUSED, reason="x" * 257)))


def test_invitation_is_shown_once_and_replaced_on_request(operator, address):
    """An enrolled silo is not enrolled again by accident; a replacement voids the credential before."""
    operator.create()
    old = operator.invite("north")
    assert SiloExists is type(refusal(lambda: operator.invite("north")))
    new = operator.invite("north", replace=True)

    assert SiloNotEnrolled is type(refusal(Silo(address, old).round))
    assert 1 == Silo(address, new).round().round


@pytest.mark.parametrize("name", ["", "North", "a/b", "..", "-a", "a" * 64, "a\n", "\u00e9"])
def test_wrong_silo_name_is_refused(operator, name):
    """A silo's name is part of the store's keys, so only safe names are enrolled."""
    operator.create()

    assert NameInvalid is type(refusal(lambda: operator.invite(name)))


def test_revoked_silo_is_barred_from_the_next_call(operator, address):
    """Revoking works at once, twice, and only for silos that there are."""
    operator.create()
    silo = Silo(address, operator.invite("north"))
    operator.revoke("north")
    operator.revoke("north")

    assert SiloNotEnrolled is type(refusal(silo.round))
    assert SiloUnknown is type(refusal(lambda: operator.revoke("nobody")))
    assert [("north", False)] == [(silo.silo, silo.active) for silo in operator.status().silos]


def test_status_tells_who_is_waited_for(operator, address):
    """The operator sees the round, the deadline, every silo with its receipt, and the reason to wait in words."""
    operator.create()
    north, _ = (Silo(address, operator.invite(name)) for name in ("north", "south"))
    north.push(north.delta())

    status = operator.status()
    (summary,) = operator.call("ListFederations", admin_pb2.ListFederationsRequest()).federations

    assert summary == status.summary
    assert (1, 2, 2) == (summary.round, summary.num_rounds, summary.num_silos)
    assert [("north", True, 1), ("south", False, 0)] == [
        (silo.silo, silo.HasField("receipt"), silo.num_contributions) for silo in status.silos
    ]
    assert "waits for south" in status.waiting_for
    assert 3600 == status.deadline.seconds - status.opened_at.seconds


def test_export_gives_the_projector_from_any_offset(operator):
    """An operator gets the very bytes that silos pull."""
    operator.create()
    for start in (0, 10, len(PROJECTOR)):
        request = admin_pb2.ExportProjectorRequest(federation="harbour", number=0, offset_bytes=start)
        first, *rest = operator.call("ExportProjector", request)
        assert PROJECTOR[start:] == b"".join(part.chunk.data for part in rest)
    assert hashlib.sha256(PROJECTOR).digest() == first.header.digest

    beyond = admin_pb2.ExportProjectorRequest(federation="harbour", offset_bytes=len(PROJECTOR) + 1)
    unknown = admin_pb2.ExportProjectorRequest(federation="harbour", number=1)
    assert OffsetOutOfRange is type(refusal(lambda: operator.call("ExportProjector", beyond)))
    assert ProjectorUnknown is type(refusal(lambda: operator.call("ExportProjector", unknown)))


ADMIN_CALLS = {
    "CreateFederation": iter([]),
    "SetFederationState": admin_pb2.SetFederationStateRequest(federation="harbour", state=PAUSED),
    "ListFederations": admin_pb2.ListFederationsRequest(),
    "GetStatus": admin_pb2.GetStatusRequest(federation="harbour"),
    "InviteSilo": admin_pb2.InviteSiloRequest(federation="harbour", silo="mallory"),
    "ReleaseSilo": admin_pb2.ReleaseSiloRequest(federation="harbour", silo="north"),
    "RevokeSilo": admin_pb2.RevokeSiloRequest(federation="harbour", silo="north"),
    "ListProjectors": admin_pb2.ListProjectorsRequest(federation="harbour"),
    "ExportProjector": admin_pb2.ExportProjectorRequest(federation="harbour"),
}


@pytest.mark.parametrize("method", ADMIN_CALLS)
def test_silos_and_strangers_may_call_nothing_of_the_operators(operator, address, method):
    """Every RPC of AdminService is for operators of this trust domain alone."""
    operator.create()
    north = operator.invite("north")

    forged = pki.issued("spiffe://elsewhere.example/operator/mallory")
    for credentials, expected in [(north, OperatorOnly), (forged, IdentityInvalid), (None, CredentialMissing)]:
        caller = Operator(address, credentials)
        assert expected is type(refusal(lambda caller=caller: caller.call(method, ADMIN_CALLS[method])))
    assert [("north", True)] == [(silo.silo, silo.active) for silo in operator.status().silos]


def test_every_admin_rpc_is_tried():
    """A new RPC of AdminService is in the list above."""
    assert set(ADMIN_CALLS) == {method.name for method in admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods}


SILO_CALLS = [
    lambda silo: silo.round(),
    lambda silo: silo.pull(number=0),
    lambda silo: silo.send(
        [aggregator_pb2.PushDeltaRequest(header=projector_pb2.ContributionHeader(federation=silo.federation))]
    ),
]


@pytest.mark.parametrize("call", SILO_CALLS)
def test_a_silo_is_known_by_its_credential_alone(operator, address, call):
    """No credential, a broken one, and one of another federation are told apart as the protocol says; none gets in."""
    operator.create()
    operator.create(definition("lagoon"))
    elsewhere = operator.invite("north", federation="lagoon")
    answers = {}
    for name, credentials in [("none", None), ("stranger", pki.silo("stranger")), ("elsewhere", elsewhere)]:
        answers[name] = refusal(lambda credentials=credentials: call(Silo(address, credentials)))
    nowhere = refusal(lambda: call(Silo(address, elsewhere, federation="nowhere")))

    assert CredentialMissing is type(answers["none"])
    assert FederationUnknown is type(answers["stranger"]) is type(answers["elsewhere"]) is type(nowhere)
    assert str(answers["stranger"]) == str(answers["elsewhere"]) == str(nowhere).replace("nowhere", "harbour")


def test_identity_in_metadata_is_never_read_over_tls(operator, address):
    """Whoever shows another silo's certificate in a call's metadata is still who its own certificate says."""
    operator.create()
    north, south = (operator.invite(name) for name in ("north", "south"))
    silo = Silo(address, south)
    delta = silo.delta()
    silo.metadata = north.metadata

    assert "south" == silo.push(delta).silo
