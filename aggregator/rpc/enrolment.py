"""EnrolmentService: how a site becomes a silo with an invitation, and gets its next certificate with its last."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc

from aggregator.ledger import Ledger, enrolment
from aggregator.ledger.acts import Act
from aggregator.ledger.records import CredentialRecord
from aggregator.rpc.identity import Callers
from isthmus.authority import Authority
from isthmus.certificates import Certificate, read_certificate, read_certificates
from isthmus.errors import EnrolmentClosed, InvitationInvalid, RequestInvalid
from isthmus.foreign import quoted
from isthmus.invitation import SECRET_BYTES, secret_digest
from isthmus.keys import PublicKey, is_proven, public_key_in, requested_key
from isthmus.logs import Event, log_event
from isthmus.signatures import KEY_BYTES, Sign, trust_statement
from isthmus.spec import NAME_PATTERN
from isthmus.spiffe import SpiffeId, silo_spiffe_id
from isthmus.v1 import enrolment_pb2, enrolment_pb2_grpc
from isthmus.wire import instant_to_proto

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Issuing:
    """What enrolled silos get.

    Attributes:
        authority: Issues certificates; None: silos bring their own.
        trust_domain: Of the certificates that it issues.
        certificate_days: How long they are valid.
        authorities_pem: Who vouches for the aggregator; "": whom silos' systems trust.
        aggregator_keys: Ed25519 public keys that sign receipts and manifests, the current one first.
        sign: Signs with the current one.
    """

    authority: Authority | None
    trust_domain: str
    certificate_days: float
    authorities_pem: str
    aggregator_keys: Sequence[bytes]
    sign: Sign


class EnrolmentService(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """The servicer.

    Args:
        ledger: Where everything is stored.
        callers: Tells who calls.
        issuing: What enrolled silos get.
        clock: The instant now, UTC.
    """

    def __init__(self, ledger: Ledger, *, callers: Callers, issuing: Issuing, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._callers = callers
        self._issuing = issuing
        self._clock = clock

    def Enrol(self, request: enrolment_pb2.EnrolRequest, context: grpc.ServicerContext) -> enrolment_pb2.EnrolResponse:
        """See enrolment.proto."""
        now = self._clock()
        if len(request.secret) != SECRET_BYTES or not NAME_PATTERN.fullmatch(request.federation):
            raise InvitationInvalid(
                "There is no such invitation in this federation. Ask the operator for a new one.", check="unknown"
            )
        invitation = secret_digest(request.secret)
        silo = enrolment.invited(self._ledger.store, request.federation, invitation, now=now)
        signing_key = _require_ed25519(request.signing_key)
        if request.signing_request_der:
            who = silo_spiffe_id(self._issuing.trust_domain, federation=request.federation, silo=silo.silo)
            issued = self._issue(request.signing_request_der, who, now=now)
            leaf = issued[0]
            name = leaf.key_sha256
        else:
            issued = []
            leaf = self._callers.certificate(context)
            name = enrolment.credential_names(leaf)[1]
        credential = CredentialRecord(
            credential=name,
            silo=silo.silo,
            invitation_sha256=invitation,
            spiffe_id=str(leaf.spiffe_id),
            signing_key=signing_key,
            certificate=leaf.der,
            signing_key_proof=request.signing_key_proof,
            enrolled_at=now,
        )
        _require_proof(public_key_in(leaf.der), credential, federation=request.federation)
        if enrolment.is_unused(self._ledger.store, request.federation, credential):
            self._put_on_record(request.federation, Event.SILO_ENROLLED, credential)
        enrolment.redeem(self._ledger.store, request.federation, credential)
        log_event(_LOG, Event.SILO_ENROLLED, federation=request.federation, silo=silo.silo, spiffe_id=leaf.spiffe_id)
        return enrolment_pb2.EnrolResponse(enrolment=self._message(credential, issued, federation=request.federation))

    def Renew(self, request: enrolment_pb2.RenewRequest, context: grpc.ServicerContext) -> enrolment_pb2.RenewResponse:
        """See enrolment.proto."""
        now = self._clock()
        found = self._callers.silo(self._ledger, request.federation, context)
        who = self._callers.certificate(context).spiffe_id
        expected = silo_spiffe_id(self._issuing.trust_domain, federation=request.federation, silo=found.silo)
        if who != expected:
            raise EnrolmentClosed(f"The authority of {quoted(str(who))} renews its certificate, not this aggregator.")
        issued = self._issue(request.signing_request_der, who, now=now)
        credential = CredentialRecord(
            credential=issued[0].key_sha256,
            silo=found.silo,
            invitation_sha256=found.credential.invitation_sha256,
            spiffe_id=str(who),
            signing_key=found.credential.signing_key,
            certificate=issued[0].der,
            signing_key_proof=request.signing_key_proof,
            enrolled_at=now,
        )
        _require_proof(public_key_in(issued[0].der), credential, federation=request.federation)
        self._put_on_record(request.federation, Event.SILO_RENEWED, credential)
        enrolment.add_credential(self._ledger.store, request.federation, credential)
        log_event(_LOG, Event.SILO_RENEWED, federation=request.federation, silo=found.silo)
        return enrolment_pb2.RenewResponse(enrolment=self._message(credential, issued, federation=request.federation))

    def _put_on_record(self, federation: str, event: Event, credential: CredentialRecord) -> None:
        details = {"credential": credential.credential, "signing_key": credential.signing_key.hex()}
        act = Act(
            at=credential.enrolled_at,
            actor=credential.spiffe_id,
            event=event.value,
            silo=credential.silo,
            details=details,
        )
        self._ledger.record_act(federation, act)

    def _issue(self, signing_request_der: bytes, who: SpiffeId, *, now: datetime) -> list[Certificate]:
        """A certificate for the key of a request."""
        authority = self._issuing.authority
        if authority is None:
            raise EnrolmentClosed(
                "This aggregator issues no certificates. Call its ordinary port with a certificate of an authority "
                "that it trusts, and enrol that one: isthmus silo enrol --certificate FILE --key FILE."
            )
        public = requested_key(signing_request_der)
        pem = authority.issue_client(public, who, now=now, days=self._issuing.certificate_days)
        return read_certificates(pem, where="the authority's answer")

    def _message(
        self, credential: CredentialRecord, issued: Sequence[Certificate], *, federation: str
    ) -> enrolment_pb2.Enrolment:
        issuing, certificate_pem = self._issuing, "".join(one.pem for one in issued)
        statement = trust_statement(
            federation=federation,
            silo=credential.silo,
            certificate_pem=certificate_pem,
            authorities_pem=issuing.authorities_pem,
            aggregator_keys=issuing.aggregator_keys,
        )
        return enrolment_pb2.Enrolment(
            silo=credential.silo,
            spiffe_id=credential.spiffe_id,
            certificate_pem=certificate_pem,
            authorities_pem=issuing.authorities_pem,
            aggregator_keys=issuing.aggregator_keys,
            expires_at=instant_to_proto(read_certificate(credential.certificate).not_after),
            signature=issuing.sign(statement),
        )


def _require_ed25519(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise RequestInvalid(
            f"signing_key has {len(key)} bytes; an Ed25519 public key has {KEY_BYTES}.",
            check="signing_key",
            measured=len(key),
            limit=KEY_BYTES,
        )
    return key


def _require_proof(public: PublicKey, credential: CredentialRecord, *, federation: str) -> None:
    proof = credential.signing_key_proof
    if not is_proven(public, proof, signing_key=credential.signing_key, federation=federation):
        raise RequestInvalid(
            "signing_key_proof is not the TLS key's signature over the statement about signing_key.",
            check="signing_key_proof",
        )
