"""AdminService: what operators call. Translates and authorizes; federations.py and enrolment.py do the work."""

import logging
from collections.abc import Callable, Collection, Iterator
from datetime import datetime

import grpc

from aggregator.ledger import Ledger
from aggregator.rpc.creation import Creation
from aggregator.rpc.identity import require_operator
from aggregator.rpc.lineage import projectors_page
from aggregator.rpc.overview import status_message, summary_message
from aggregator.rpc.present import present_of
from aggregator.rpc.pulls import chunks_of, require_offset
from aggregator.rpc.slots import Slots
from isthmus.credentials import new_token, token_digest, token_pem
from isthmus.errors import RequestInvalid
from isthmus.logs import Event, log_event
from isthmus.v1 import admin_pb2, admin_pb2_grpc, projector_pb2
from isthmus.wire import (
    manifest_to_proto,
    spec_to_proto,
    state_from_proto,
)

_LOG = logging.getLogger(__name__)

MAX_REASON_CHARACTERS = 256


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """The servicer.

    Args:
        ledger: Where everything is stored.
        operators: Hex SHA-256 of the operators' credentials.
        creation: Takes federations in.
        slots: How many exports and creations may run at once.
        authority_pem: What invitations carry so that silos trust this aggregator; may be empty.
        clock: The instant now, UTC.
        on_change: Called when a federation's state or silos changed.
        trouble: Why this replica's last step of a federation failed; empty when it did not.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        operators: Collection[str],
        creation: Creation,
        slots: Slots,
        authority_pem: str,
        clock: Callable[[], datetime],
        on_change: Callable[[], None],
        trouble: Callable[[str], str],
    ) -> None:
        self._ledger = ledger
        self._operators = operators
        self._creation = creation
        self._slots = slots
        self._authority_pem = authority_pem
        self._clock = clock
        self._on_change = on_change
        self._trouble = trouble

    def CreateFederation(
        self, request_iterator: Iterator[admin_pb2.CreateFederationRequest], context: grpc.ServicerContext
    ) -> admin_pb2.CreateFederationResponse:
        """See admin.proto."""
        require_operator(self._operators, context)
        first = next(request_iterator)  # the door let no call in without it
        if first.WhichOneof("part") != "definition":
            raise RequestInvalid("The first part of a creation must be the definition.", check="order")
        with self._slots.creation(context) as alive:
            record, created = self._creation.receive(first.definition, request_iterator, alive=alive, now=self._clock())
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
        require_operator(self._operators, context)
        state = state_from_proto(request.state)
        if len(request.reason) > MAX_REASON_CHARACTERS:
            raise RequestInvalid(
                f"The reason has {len(request.reason)} characters; at most {MAX_REASON_CHARACTERS} are kept on record.",
                check="reason",
                measured=len(request.reason),
                limit=MAX_REASON_CHARACTERS,
            )
        self._ledger.set_state(request.federation, state, reason=request.reason, now=self._clock())
        log_event(_LOG, Event.FEDERATION_STATE_SET, federation=request.federation, state=state.value)
        self._on_change()
        return admin_pb2.SetFederationStateResponse(state=request.state)

    def ListFederations(
        self, request: admin_pb2.ListFederationsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListFederationsResponse:
        """See admin.proto."""
        require_operator(self._operators, context)
        presents = (present_of(self._ledger, name, now=self._clock()) for name in self._ledger.federations())
        return admin_pb2.ListFederationsResponse(federations=[summary_message(present) for present in presents])

    def GetStatus(
        self, request: admin_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetStatusResponse:
        """See admin.proto."""
        require_operator(self._operators, context)
        present = present_of(self._ledger, request.federation, now=self._clock())
        return status_message(self._ledger, present, trouble=self._trouble(request.federation))

    def InviteSilo(
        self, request: admin_pb2.InviteSiloRequest, context: grpc.ServicerContext
    ) -> admin_pb2.InviteSiloResponse:
        """See admin.proto."""
        require_operator(self._operators, context)
        token = new_token()
        self._ledger.invite(
            request.federation,
            request.silo,
            credential_sha256=token_digest(token),
            now=self._clock(),
            replace=request.replace,
        )
        log_event(_LOG, Event.SILO_INVITED, federation=request.federation, silo=request.silo, replace=request.replace)
        self._on_change()
        return admin_pb2.InviteSiloResponse(credential_pem=token_pem(token) + self._authority_pem)

    def RevokeSilo(
        self, request: admin_pb2.RevokeSiloRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RevokeSiloResponse:
        """See admin.proto."""
        require_operator(self._operators, context)
        self._ledger.revoke(request.federation, request.silo)
        log_event(_LOG, Event.SILO_REVOKED, federation=request.federation, silo=request.silo)
        self._on_change()
        return admin_pb2.RevokeSiloResponse()

    def ListProjectors(
        self, request: admin_pb2.ListProjectorsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListProjectorsResponse:
        """See admin.proto."""
        require_operator(self._operators, context)
        return projectors_page(self._ledger, request.federation, first_number=request.first_number)

    def ExportProjector(
        self, request: admin_pb2.ExportProjectorRequest, context: grpc.ServicerContext
    ) -> Iterator[admin_pb2.ExportProjectorResponse]:
        """See admin.proto."""
        require_operator(self._operators, context)
        manifest = self._ledger.manifest(request.federation, request.number)
        require_offset(manifest, request.offset_bytes)
        with self._slots.pull(context) as alive:
            yield admin_pb2.ExportProjectorResponse(header=manifest_to_proto(manifest))
            for offset, data in chunks_of(
                self._ledger, request.federation, manifest, offset_bytes=request.offset_bytes
            ):
                alive()
                yield admin_pb2.ExportProjectorResponse(chunk=projector_pb2.Chunk(offset_bytes=offset, data=data))
