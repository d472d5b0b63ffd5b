"""AdminService: what operators call. Translates and authorizes; federations.py and enrolment.py do the work."""

import logging
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import grpc

from aggregator.ledger import Ledger, strikes
from aggregator.ledger.acts import Act
from aggregator.ledger.enrolment import require_name
from aggregator.ledger.records import SiloRecord
from aggregator.rpc.creation import Creation
from aggregator.rpc.identity import Callers
from aggregator.rpc.lineage import projectors_page
from aggregator.rpc.overview import status_message, summary_message
from aggregator.rpc.present import present_of
from aggregator.rpc.pulls import chunks_of, require_offset
from aggregator.rpc.seal import Seal
from aggregator.rpc.slots import Slots
from isthmus.errors import RequestInvalid
from isthmus.invitation import SECRET_BYTES, secret_digest
from isthmus.logs import Event, log_event
from isthmus.spiffe import SpiffeId
from isthmus.v1 import admin_pb2, admin_pb2_grpc, projector_pb2
from isthmus.wire import (
    instant_to_proto,
    spec_to_proto,
    state_from_proto,
)

_LOG = logging.getLogger(__name__)

MAX_REASON_CHARACTERS = 256

INVITATION_SECONDS = 86_400
"""How long an invitation may be used, unless the operator says otherwise."""

MIN_VALID_SECONDS, MAX_VALID_SECONDS = 60, 30 * 86_400
"""From how long to how long an operator may say."""


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """The servicer.

    Args:
        ledger: Where everything is stored.
        callers: Tells who calls.
        seal: Signs receipts and manifests.
        creation: Takes federations in.
        slots: How many exports and creations may run at once.
        authority_pem: What invitations carry so that silos trust this aggregator; may be empty.
        enrolment_port: Where silos without a certificate enrol; 0: nowhere.
        clock: The instant now, UTC.
        on_change: Called when a federation's state or silos changed.
        trouble: Why this replica's last step of a federation failed; empty when it did not.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        callers: Callers,
        seal: Seal,
        creation: Creation,
        slots: Slots,
        authority_pem: str,
        enrolment_port: Callable[[], int],
        clock: Callable[[], datetime],
        on_change: Callable[[], None],
        trouble: Callable[[str], str],
    ) -> None:
        self._ledger = ledger
        self._callers = callers
        self._seal = seal
        self._creation = creation
        self._slots = slots
        self._authority_pem = authority_pem
        self._enrolment_port = enrolment_port
        self._clock = clock
        self._on_change = on_change
        self._trouble = trouble

    def CreateFederation(
        self, request_iterator: Iterator[admin_pb2.CreateFederationRequest], context: grpc.ServicerContext
    ) -> admin_pb2.CreateFederationResponse:
        """See admin.proto."""
        actor = self._callers.operator(context)
        first = next(request_iterator)  # the door let no call in without it
        if first.WhichOneof("part") != "definition":
            raise RequestInvalid("The first part of a creation must be the definition.", check="order")
        with self._slots.creation(context) as alive:
            record, created = self._creation.receive(
                first.definition, request_iterator, actor=actor, alive=alive, now=self._clock()
            )
        if created:
            log_event(_LOG, Event.FEDERATION_CREATED, federation=record.federation.name)
            self._on_change()
        return admin_pb2.CreateFederationResponse(
            federation=record.federation.name, spec=spec_to_proto(record.spec), created=created
        )

    def SetFederationState(
        self, request: admin_pb2.SetFederationStateRequest, context: grpc.ServicerContext
    ) -> admin_pb2.SetFederationStateResponse:
        """See admin.proto."""
        actor = self._callers.operator(context)
        state = state_from_proto(request.state)
        if len(request.reason) > MAX_REASON_CHARACTERS:
            raise RequestInvalid(
                f"The reason has {len(request.reason)} characters; at most {MAX_REASON_CHARACTERS} are kept on record.",
                check="reason",
                measured=len(request.reason),
                limit=MAX_REASON_CHARACTERS,
            )
        self._put_on_record(
            request.federation, Event.FEDERATION_STATE_SET, actor, state=state.value, reason=request.reason
        )
        self._ledger.set_state(request.federation, state, reason=request.reason, now=self._clock())
        log_event(_LOG, Event.FEDERATION_STATE_SET, federation=request.federation, state=state.value)
        self._on_change()
        return admin_pb2.SetFederationStateResponse(state=request.state)

    def ListFederations(
        self, request: admin_pb2.ListFederationsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListFederationsResponse:
        """See admin.proto."""
        self._callers.operator(context)
        presents = (present_of(self._ledger, name, now=self._clock()) for name in self._ledger.federations())
        return admin_pb2.ListFederationsResponse(federations=[summary_message(present) for present in presents])

    def GetStatus(
        self, request: admin_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetStatusResponse:
        """See admin.proto."""
        self._callers.operator(context)
        present = present_of(self._ledger, request.federation, now=self._clock())
        return status_message(self._ledger, present, seal=self._seal, trouble=self._trouble(request.federation))

    def InviteSilo(
        self, request: admin_pb2.InviteSiloRequest, context: grpc.ServicerContext
    ) -> admin_pb2.InviteSiloResponse:
        """See admin.proto."""
        actor = self._callers.operator(context)
        now = self._clock()
        secret = secrets.token_bytes(SECRET_BYTES)
        record = SiloRecord(
            silo=request.silo,
            invitation_sha256=secret_digest(secret),
            invited_at=now,
            expires_at=now + timedelta(seconds=_valid_seconds(request)),
        )
        self._put_on_record(
            request.federation,
            Event.SILO_INVITED,
            actor,
            silo=request.silo,
            invitation_sha256=record.invitation_sha256,
            replace=str(request.replace).lower(),
        )
        self._ledger.invite(request.federation, record, replace=request.replace)
        log_event(_LOG, Event.SILO_INVITED, federation=request.federation, silo=request.silo, replace=request.replace)
        self._on_change()
        return admin_pb2.InviteSiloResponse(
            secret=secret,
            expires_at=instant_to_proto(record.expires_at),
            enrolment_port=self._enrolment_port(),
            authorities_pem=self._authority_pem,
        )

    def RevokeSilo(
        self, request: admin_pb2.RevokeSiloRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RevokeSiloResponse:
        """See admin.proto."""
        actor = self._callers.operator(context)
        self._put_on_record(request.federation, Event.SILO_REVOKED, actor, silo=request.silo)
        self._ledger.revoke(request.federation, request.silo)
        log_event(_LOG, Event.SILO_REVOKED, federation=request.federation, silo=request.silo)
        self._on_change()
        return admin_pb2.RevokeSiloResponse()

    def ReleaseSilo(
        self, request: admin_pb2.ReleaseSiloRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ReleaseSiloResponse:
        """See admin.proto."""
        actor = self._callers.operator(context)
        self._put_on_record(request.federation, Event.SILO_RELEASED, actor, silo=request.silo)
        if strikes.release(self._ledger.store, request.federation, request.silo, now=self._clock()):
            log_event(_LOG, Event.SILO_RELEASED, federation=request.federation, silo=request.silo)
            self._on_change()
        return admin_pb2.ReleaseSiloResponse()

    def _put_on_record(self, federation: str, event: Event, actor: SpiffeId, *, silo: str = "", **details: str) -> None:
        """Records what is asked for, before it is done.

        Raises:
            FederationUnknown: There is none of that name: nothing is recorded of it.
            NameInvalid: It is no silo's name.
        """
        self._ledger.federation(federation)
        if silo:
            require_name(silo)
        act = Act(at=self._clock(), actor=str(actor), event=event.value, silo=silo, details=details)
        self._ledger.record_act(federation, act)

    def ListProjectors(
        self, request: admin_pb2.ListProjectorsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListProjectorsResponse:
        """See admin.proto."""
        self._callers.operator(context)
        return projectors_page(self._ledger, request.federation, first_number=request.first_number, seal=self._seal)

    def ExportProjector(
        self, request: admin_pb2.ExportProjectorRequest, context: grpc.ServicerContext
    ) -> Iterator[admin_pb2.ExportProjectorResponse]:
        """See admin.proto."""
        self._callers.operator(context)
        manifest = self._ledger.manifest(request.federation, request.number)
        require_offset(manifest, request.offset_bytes)
        with self._slots.pull(context) as alive:
            yield admin_pb2.ExportProjectorResponse(header=self._seal.manifest(manifest, federation=request.federation))
            for offset, data in chunks_of(
                self._ledger, request.federation, manifest, offset_bytes=request.offset_bytes
            ):
                alive()
                chunk = projector_pb2.Chunk(offset_bytes=offset, data=bytes(data))
                yield admin_pb2.ExportProjectorResponse(chunk=chunk)


def _valid_seconds(request: admin_pb2.InviteSiloRequest) -> int:
    seconds = request.valid_seconds or INVITATION_SECONDS
    if not MIN_VALID_SECONDS <= seconds <= MAX_VALID_SECONDS:
        raise RequestInvalid(
            f"An invitation is valid from {MIN_VALID_SECONDS} to {MAX_VALID_SECONDS} s, not {seconds}.",
            check="valid_seconds",
            measured=seconds,
            limit=MAX_VALID_SECONDS,
        )
    return seconds
