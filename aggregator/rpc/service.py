"""AggregatorService: what silos call. Authorizes and translates; each RPC's work stands in a module of its own."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

import grpc

from aggregator.ledger import Ledger
from aggregator.ledger.documents import Upload
from aggregator.metrics.meters import Meters
from aggregator.rpc.cuttable import Beside, Cuttable
from aggregator.rpc.identity import Callers, traceparent_in, while_allowed
from aggregator.rpc.incoming import chunks_until_finish
from aggregator.rpc.masking import Masking
from aggregator.rpc.present import Present, Presents
from aggregator.rpc.pulls import chunks_of, manifest_of, require_offset
from aggregator.rpc.pushes import PushCall, Pushes
from aggregator.rpc.seal import Seal
from aggregator.rpc.slots import Slots
from aggregator.rpc.watch import RoundWatch
from isthmus.contribution import Receipt, push_id
from isthmus.errors import HeaderInvalid, RequestInvalid
from isthmus.federation import plan_of_round
from isthmus.logs import Event, log_event
from isthmus.parts import chunk_part
from isthmus.raw_streams import PullPart
from isthmus.secure_aggregation.messages import members_to_proto, offer_from_proto
from isthmus.traces import silo_span
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc, projector_pb2
from isthmus.wire import (
    encoding_to_proto,
    instant_to_proto,
    plan_to_proto,
    spec_to_proto,
    state_to_proto,
)

_LOG = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 60.0
"""A long poll ends before ordinary proxies lose patience."""

DIGEST_BYTES = 32


class AggregatorService(aggregator_pb2_grpc.AggregatorServiceServicer):
    """The servicer.

    Args:
        ledger: Where everything is stored.
        callers: Tells who calls.
        seal: Signs receipts and manifests.
        pushes: Receives deltas.
        masking: Takes keys and seeds of secure aggregation.
        watch: Holds long polls back.
        presents: Tells where a federation stands.
        slots: How many polls and pulls may run at once.
        beside: Runs what reads the streams of pushes.
        clock: The instant now, UTC.
        meters: Told of bytes that are sent.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        callers: Callers,
        seal: Seal,
        pushes: Pushes,
        masking: Masking,
        watch: RoundWatch,
        presents: Presents,
        slots: Slots,
        beside: Beside,
        clock: Callable[[], datetime],
        meters: Meters,
    ) -> None:
        self._ledger = ledger
        self._meters = meters
        self._callers = callers
        self._seal = seal
        self._pushes = pushes
        self._masking = masking
        self._watch = watch
        self._presents = presents
        self._slots = slots
        self._beside = beside
        self._clock = clock

    def GetRound(
        self, request: aggregator_pb2.GetRoundRequest, context: grpc.ServicerContext
    ) -> aggregator_pb2.GetRoundResponse:
        """See aggregator.proto."""
        self._callers.silo(self._ledger, request.federation, context)
        seconds = min(request.wait.ToNanoseconds() / 1e9, MAX_WAIT_SECONDS)
        if request.after_round and seconds > 0:
            with self._slots.poll() as may_wait:
                if may_wait:
                    self._watch.wait(
                        request.federation,
                        after_round=request.after_round,
                        seconds=seconds,
                        alive=context.is_active,
                    )
        silo = self._callers.silo(self._ledger, request.federation, context).silo
        now = self._clock()
        present = self._presents.of(request.federation, now=now)
        receipt = self._receipt(present, silo)
        return _round_message(present, self._seal.receipt(receipt) if receipt else None, now=now)

    def PullProjector(
        self, request: aggregator_pb2.PullProjectorRequest, context: grpc.ServicerContext
    ) -> Iterator[PullPart]:
        """See aggregator.proto."""
        require_enrolled = partial(self._callers.silo, self._ledger, request.federation, context)
        silo = require_enrolled().silo
        match request.WhichOneof("projector"):
            case "number":
                manifest = self._ledger.manifest(request.federation, request.number)
            case "digest":
                manifest = manifest_of(self._ledger, request.federation, digest=request.digest)
            case _:
                raise RequestInvalid("The request names no projector; set its number or its digest.", check="projector")
        require_offset(manifest, request.offset_bytes)
        traceparent = traceparent_in(context)
        with silo_span("projector.pull", request.federation, manifest.number + 1, silo=silo, traceparent=traceparent):
            with self._slots.pull(context) as alive:
                yield aggregator_pb2.PullProjectorResponse(
                    header=self._seal.manifest(manifest, federation=request.federation)
                )
                chunks = chunks_of(self._ledger, request.federation, manifest, offset_bytes=request.offset_bytes)
                for offset, data in while_allowed(chunks, require_enrolled):
                    alive()
                    yield chunk_part(offset, data)
                    self._meters.sent(request.federation, len(data))
            if request.offset_bytes < manifest.size_bytes:  # else only the manifest was asked for
                log_event(
                    _LOG, Event.PROJECTOR_PULLED, federation=request.federation, silo=silo, round=manifest.number + 1
                )

    def PushDelta(
        self, request_iterator: Iterator[aggregator_pb2.PushDeltaRequest], context: grpc.ServicerContext
    ) -> aggregator_pb2.PushDeltaResponse:
        """See aggregator.proto."""
        first = next(request_iterator)  # the door let no call in without it
        federation = first.header.federation
        require_enrolled = partial(self._callers.silo, self._ledger, federation, context)
        caller = require_enrolled()
        if first.WhichOneof("part") != "header":
            raise HeaderInvalid("The first part of a push must be the header.", check="order")

        def receive(call: Cuttable) -> Receipt:
            push = PushCall(
                silo=caller.silo,
                credential=caller.credential,
                header=first.header,
                chunks=chunks_until_finish(request_iterator),
                call=call,
                require_enrolled=require_enrolled,
                traceparent=traceparent_in(context),
            )
            return self._pushes.receive(push)

        return aggregator_pb2.PushDeltaResponse(receipt=self._seal.receipt(self._beside.run(context, receive)))

    def GetPushStatus(
        self, request: aggregator_pb2.GetPushStatusRequest, context: grpc.ServicerContext
    ) -> aggregator_pb2.GetPushStatusResponse:
        """See aggregator.proto."""
        silo = self._callers.silo(self._ledger, request.federation, context).silo
        if len(request.payload_digest) != DIGEST_BYTES:
            raise RequestInvalid(
                f"payload_digest has {len(request.payload_digest)} bytes; a SHA-256 has {DIGEST_BYTES}.",
                check="payload_digest",
                measured=len(request.payload_digest),
                limit=DIGEST_BYTES,
            )
        receipt = self._pushes.receipt_if_counted(
            request.federation, round_number=request.round, silo=silo, payload_digest=request.payload_digest
        )
        if receipt is not None:
            return aggregator_pb2.GetPushStatusResponse(
                committed_bytes=receipt.payload_size_bytes, receipt=self._seal.receipt(receipt)
            )
        identity = push_id(request.federation, request.round, silo=silo, payload_digest=request.payload_digest)
        segments = self._ledger.committed_segments(Upload(request.federation, request.round, silo, identity))
        return aggregator_pb2.GetPushStatusResponse(committed_bytes=sum(one.size_bytes for one in segments))

    def OfferKey(
        self, request: aggregator_pb2.OfferKeyRequest, context: grpc.ServicerContext
    ) -> aggregator_pb2.OfferKeyResponse:
        """See aggregator.proto."""
        caller = self._callers.silo(self._ledger, request.federation, context)
        self._masking.offer(caller, offer_from_proto(request))
        return aggregator_pb2.OfferKeyResponse()

    def GetKeyRoster(
        self, request: aggregator_pb2.GetKeyRosterRequest, context: grpc.ServicerContext
    ) -> aggregator_pb2.GetKeyRosterResponse:
        """See aggregator.proto."""
        self._callers.silo(self._ledger, request.federation, context)
        standing = self._masking.standing(request.federation, request.round)
        members = standing.keys.roster.members if standing.keys else ()
        return aggregator_pb2.GetKeyRosterResponse(members=members_to_proto(members), is_complete=standing.complete)

    def RevealSeed(
        self, request: aggregator_pb2.RevealSeedRequest, context: grpc.ServicerContext
    ) -> aggregator_pb2.RevealSeedResponse:
        """See aggregator.proto."""
        caller = self._callers.silo(self._ledger, request.federation, context)
        self._masking.reveal(
            caller,
            request.federation,
            request.round,
            transcript=request.transcript,
            seed=request.seed,
            signature=request.signature,
        )
        return aggregator_pb2.RevealSeedResponse()

    def _receipt(self, present: Present, silo: str) -> Receipt | None:
        """The silo's receipt in the open round; None when it has not contributed, or was too late to be counted."""
        federation = present.record.federation.name
        contribution = self._ledger.contribution(federation, present.round, silo)
        if contribution is None:
            return None
        digest = contribution.header.payload_digest
        return self._pushes.receipt_if_counted(federation, round_number=present.round, silo=silo, payload_digest=digest)


def _round_message(
    present: Present, receipt: projector_pb2.Receipt | None, *, now: datetime
) -> aggregator_pb2.GetRoundResponse:
    federation = present.record.federation
    masks = federation.secure_aggregation
    remaining = (present.deadline - now).total_seconds() if present.deadline else 0.0
    return aggregator_pb2.GetRoundResponse(
        state=state_to_proto(present.state),
        round=present.round,
        base_digest=present.base.digest,
        base_size_bytes=present.base.size_bytes,
        spec=spec_to_proto(present.record.spec),
        encoding=encoding_to_proto(federation.encoding),
        plan=plan_to_proto(plan_of_round(federation, min(present.round, federation.rounds))),
        deadline=instant_to_proto(present.deadline) if present.deadline else None,
        deadline_remaining_seconds=max(0.0, remaining),
        receipt=receipt,
        waiting_for=present.waiting_for,
        num_rounds=federation.rounds,
        max_num_examples=federation.admission.max_num_examples,
        quorum=federation.participation.silos.min,
        error_feedback=federation.feeds_errors_back,
        secure_aggregation=aggregator_pb2.SecureAggregation(clip=masks.clip, bits=masks.bits) if masks else None,
    )
