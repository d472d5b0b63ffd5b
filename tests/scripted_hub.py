"""An aggregator for silos, in memory and scripted to break: the contract of AggregatorService with faults on demand."""

import hashlib
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import grpc

from aggregator.rpc.seal import Seal
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.errors import IsthmusError
from isthmus.federation import parse_federation, plan_of_round
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec
from isthmus.status import status_of
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc, projector_pb2
from isthmus.wire import (
    encoding_to_proto,
    header_from_proto,
    plan_to_proto,
    spec_to_proto,
)
from tests import pki

CHUNK = 1 << 20
PLAN = plan_of_round(
    parse_federation(
        'name = "tiny"\nrounds = 2\n'
        "[participation]\nsilos = { min = 1, max = 1 }\n[plan]\nlearning_rate = { initial = 0.1 }\n"
    ),
    1,
)


@dataclass
class ScriptedHub(aggregator_pb2_grpc.AggregatorServiceServicer):
    """Serves one projector in every round and takes pushes; breaks as its scripts say.

    Attributes:
        break_pulls: For each pull in turn, the bytes after which its stream breaks.
        break_pushes: For each push in turn, the bytes of the payload after which its stream breaks; those are kept.
        flip_byte: The byte of the projector that arrives as another one.
        refusals: Errors that the next calls of any kind get, one each.
        kept: What arrived of the payload.
        seal: Signs receipts and manifests.
        lie: Fields of a receipt that say something else than what was pushed.
        shown: A receipt that GetRound and GetPushStatus give, whatever was asked.
        meanwhile: Told of each call as it begins, before its refusal.
        headers: Of all pushes, in order.
        calls: Names of the calls in order, pulls and pushes with the offset they began at.
    """

    projector: bytes
    spec: ProjectorSpec
    num_rounds: int = 2
    round: int = 1
    state: int = aggregator_pb2.FEDERATION_STATE_RUNNING
    break_pulls: list[int] = field(default_factory=list)
    break_pushes: list[int] = field(default_factory=list)
    flip_byte: int | None = None
    refusals: list[IsthmusError] = field(default_factory=list)
    kept: bytearray = field(default_factory=bytearray)
    header: ContributionHeader | None = None
    receipt: Receipt | None = None
    calls: list[str] = field(default_factory=list)
    seal: Seal = field(default_factory=pki.seal)
    lie: dict[str, object] = field(default_factory=dict)
    shown: Receipt | None = None
    meanwhile: Callable[[str], None] = lambda call: None
    headers: list[ContributionHeader] = field(default_factory=list)
    caller: bytes = b""
    silo: str = ""

    def GetRound(self, request: aggregator_pb2.GetRoundRequest, context: grpc.ServicerContext):
        """The open round; the one before counts as done."""
        self._begin("round", context)
        finished = self.round > self.num_rounds
        message = aggregator_pb2.GetRoundResponse(
            state=aggregator_pb2.FEDERATION_STATE_FINISHED if finished else self.state,
            round=self.round,
            base_digest=hashlib.sha256(self.projector).digest(),
            base_size_bytes=len(self.projector),
            spec=spec_to_proto(self.spec),
            encoding=encoding_to_proto(Encoding.FP32),
            plan=plan_to_proto(PLAN),
            num_rounds=self.num_rounds,
            max_num_examples=1000,
        )
        own = self.receipt if self.receipt is not None and self.receipt.round == self.round else None
        if receipt := self.shown or own:
            message.receipt.CopyFrom(self.seal.receipt(receipt))
        return message

    def PullProjector(self, request: aggregator_pb2.PullProjectorRequest, context: grpc.ServicerContext):
        """The projector from the offset, until the script breaks it."""
        self._begin(f"pull {request.offset_bytes}", context)
        manifest = ProjectorManifest(
            request.number,
            hashlib.sha256(self.projector).digest(),
            len(self.projector),
            datetime(2026, 1, 1, tzinfo=UTC),
        )
        yield aggregator_pb2.PullProjectorResponse(header=self.seal.manifest(manifest, federation=request.federation))
        end = self.break_pulls.pop(0) if self.break_pulls else len(self.projector)
        for offset in range(request.offset_bytes, end, CHUNK):
            data = bytearray(self.projector[offset : min(offset + CHUNK, end)])
            if self.flip_byte is not None and offset <= self.flip_byte < offset + len(data):
                data[self.flip_byte - offset] ^= 1
            yield aggregator_pb2.PullProjectorResponse(chunk=projector_pb2.Chunk(offset_bytes=offset, data=bytes(data)))
        if end < len(self.projector):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the replica died")

    def PushDelta(self, requests: Iterator[aggregator_pb2.PushDeltaRequest], context: grpc.ServicerContext):
        """Keeps what comes until the script breaks it; gives a receipt for the whole."""
        self.header = header_from_proto(next(requests).header)
        self.headers.append(self.header)
        self._begin(f"push {len(self.kept)}", context)
        end = self.break_pushes.pop(0) if self.break_pushes else self.header.payload_size_bytes
        for request in requests:
            if request.WhichOneof("part") == "finish":
                break
            assert request.chunk.offset_bytes == len(self.kept)
            self.kept += request.chunk.data
            if len(self.kept) > end:
                del self.kept[end:]
                context.abort(grpc.StatusCode.UNAVAILABLE, "the replica died")
        self._count()
        return aggregator_pb2.PushDeltaResponse(receipt=self.seal.receipt(self.receipt))

    def GetPushStatus(self, request: aggregator_pb2.GetPushStatusRequest, context: grpc.ServicerContext):
        """What is kept of the payload."""
        self._begin("push status", context)
        asked = (request.round, request.payload_digest)
        counted = self.receipt is not None and asked == (self.receipt.round, self.receipt.payload_digest)
        receipt = self.shown or (self.receipt if counted else None)
        sealed = self.seal.receipt(receipt) if receipt else None
        return aggregator_pb2.GetPushStatusResponse(committed_bytes=len(self.kept), receipt=sealed)

    def _begin(self, call: str, context: grpc.ServicerContext) -> None:
        self.calls.append(call)
        self.silo = context.auth_context()["peer_spiffe_id"][0].decode().rpartition("/")[2]
        self.caller = ssl.PEM_cert_to_DER_cert(context.auth_context()["x509_pem_cert"][0].decode())
        self.meanwhile(call)
        if self.refusals:
            context.abort_with_status(status_of(self.refusals.pop(0)))

    def _count(self) -> None:
        assert self.header is not None
        assert hashlib.sha256(self.kept).digest() == self.header.payload_digest
        self.receipt = Receipt(
            federation=self.header.federation,
            round=self.header.round,
            silo=self.silo,
            payload_digest=self.header.payload_digest,
            payload_size_bytes=self.header.payload_size_bytes,
            num_examples=self.header.num_examples,
            l2_norm=1.0,
            admitted_at=datetime(2026, 1, 1, tzinfo=UTC),
            counted_in=self.header.round,
        )
        self.receipt = replace(self.receipt, **self.lie)
        self.round += 1


@contextmanager
def served(hub: ScriptedHub) -> Iterator[str]:
    """The hub's address, while it is served on loopback."""
    with ThreadPoolExecutor(max_workers=4) as threads:
        server = grpc.server(threads, options=(("grpc.so_reuseport", 0),))
        aggregator_pb2_grpc.add_AggregatorServiceServicer_to_server(hub, server)
        port = server.add_secure_port("127.0.0.1:0", pki.server_credentials())
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()
