"""An aggregator for one silo over real mutual TLS, honest until a case of battery G makes it lie."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import grpc

from aggregator.rpc.seal import Seal
from isthmus.contribution import Encoding, Receipt
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc, projector_pb2
from isthmus.wire import encoding_to_proto, header_from_proto, plan_to_proto, spec_to_proto
from tests import pki
from tests.scripted_hub import PLAN

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class LyingHub(aggregator_pb2_grpc.AggregatorServiceServicer):
    """Serves a chain of projectors and counts every push.

    Attributes:
        spec: Of all projectors.
        projectors: The bytes of each, by number; a round starts from the last one.
        num_rounds: After these the federation is finished.
        seal: Signs receipts and manifests.
        round: Fields of GetRound that say something else.
        manifests: Fields of manifests that say something else, by number.
        served: The bytes that come in the place of a projector, by number, stream by stream.
        receipt: Fields of receipts that say something else.
        calls: What was asked, in order.
    """

    spec: ProjectorSpec
    projectors: list[bytes]
    num_rounds: int = 9
    seal: Seal = field(default_factory=pki.seal)
    round: dict[str, object] = field(default_factory=dict)
    manifests: dict[int, dict[str, object]] = field(default_factory=dict)
    served: dict[int, list[bytes]] = field(default_factory=dict)
    receipt: dict[str, object] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    next_projector: list[bytes] = field(default_factory=list)

    def manifest(self, number: int) -> ProjectorManifest:
        """What is said of a projector."""
        digests = [hashlib.sha256(projector).digest() for projector in self.projectors]
        parent = digests[number - 1] if number else b""
        honest = ProjectorManifest(number, digests[number], len(self.projectors[number]), NOW, parent_digest=parent)
        return replace(honest, **self.manifests.get(number, {}))  # type: ignore[arg-type]

    def GetRound(self, request: aggregator_pb2.GetRoundRequest, context: grpc.ServicerContext):
        """The open round."""
        self.calls.append("round")
        number = len(self.projectors)
        fields: dict[str, object] = {
            "round": number,
            "base_digest": hashlib.sha256(self.projectors[-1]).digest(),
            "base_size_bytes": len(self.projectors[-1]),
            "spec": spec_to_proto(self.spec),
            "quorum": 3,
            **self.round,
        }
        running, finished = aggregator_pb2.FEDERATION_STATE_RUNNING, aggregator_pb2.FEDERATION_STATE_FINISHED
        return aggregator_pb2.GetRoundResponse(
            state=finished if number > self.num_rounds else running,
            encoding=encoding_to_proto(Encoding.FP32),
            plan=plan_to_proto(PLAN),
            num_rounds=self.num_rounds,
            max_num_examples=1000,
            **fields,  # type: ignore[arg-type]
        )

    def PullProjector(self, request: aggregator_pb2.PullProjectorRequest, context: grpc.ServicerContext):
        """The projector, or what comes in its place; a stream that is cut short breaks."""
        manifest = self.manifest(request.number)
        yield aggregator_pb2.PullProjectorResponse(header=self.seal.manifest(manifest, federation=request.federation))
        if request.offset_bytes == manifest.size_bytes:  # the manifest alone
            return
        self.calls.append(f"pull {request.number}")
        others = self.served.get(request.number, [])
        content = others.pop(0) if others else self.projectors[request.number]
        chunk = projector_pb2.Chunk(offset_bytes=request.offset_bytes, data=content[request.offset_bytes :])
        yield aggregator_pb2.PullProjectorResponse(chunk=chunk)
        if len(content) < manifest.size_bytes:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the replica died")

    def PushDelta(self, requests: Iterator[aggregator_pb2.PushDeltaRequest], context: grpc.ServicerContext):
        """Counts the delta, and publishes the next projector of the script."""
        first, *_ = list(requests)
        header = header_from_proto(first.header)
        self.calls.append(f"push {header.round}")
        receipt = Receipt(
            federation=header.federation,
            round=header.round,
            silo="north",
            payload_digest=header.payload_digest,
            payload_size_bytes=header.payload_size_bytes,
            num_examples=header.num_examples,
            l2_norm=1.0,
            admitted_at=NOW,
            counted_in=header.round,
        )
        if self.next_projector:
            self.projectors.append(self.next_projector.pop(0))
        lied = replace(receipt, **self.receipt)  # type: ignore[arg-type]
        return aggregator_pb2.PushDeltaResponse(receipt=self.seal.receipt(lied))

    def GetPushStatus(self, request: aggregator_pb2.GetPushStatusRequest, context: grpc.ServicerContext):
        """Nothing of any push is there yet."""
        return aggregator_pb2.GetPushStatusResponse(committed_bytes=0)


@contextmanager
def lying(hub: LyingHub, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """The hub's address, while it is served on loopback."""
    with ThreadPoolExecutor(max_workers=4) as threads:
        server = grpc.server(threads, options=(("grpc.so_reuseport", 0),))
        aggregator_pb2_grpc.add_AggregatorServiceServicer_to_server(hub, server)
        port = server.add_secure_port("127.0.0.1:0", credentials or pki.server_credentials())
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()
