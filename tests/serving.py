"""Real aggregators on loopback for tests, and silos that speak the bare protocol: every message is the test's own."""

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC

import grpc

from aggregator.config import AggregatorConfig, Limits
from aggregator.server import Aggregator
from aggregator.stores import Store
from isthmus.addresses import parse_address
from isthmus.channel import CHANNEL_OPTIONS, anonymous_channel
from isthmus.chunks import split
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.credentials import Credentials
from isthmus.enrolling import enrol
from isthmus.errors import IsthmusError
from isthmus.invitation import Invitation
from isthmus.signatures import contribution_statement, signer
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.status import error_of
from isthmus.v1 import admin_pb2, admin_pb2_grpc, aggregator_pb2, aggregator_pb2_grpc, projector_pb2
from isthmus.wire import header_to_proto, receipt_from_proto
from tests import pki
from tests.rosters import TINY, payload_bytes, values

MIB = 1 << 20
LARGE = ProjectorSpec((TensorSpec("bias", "F32", (1000,)), TensorSpec("weight", "F32", (1250, 2048))))
"""A projector of more than one segment: a little over 10 MB."""

OWN = pki.operator()
"""The operator's credentials."""

ENROL_AT: dict[str, str] = {}
"""Where newcomers enrol, by the address of the replicas that `serving` started."""

SECONDS = 30.0
"""Deadline of every call of a test that does not name its own."""


def definition(name: str = "harbour", *, rounds: int = 2, quorum: int = 2, extra: str = "") -> str:
    """A federation's TOML."""
    return (
        f'name = "{name}"\nrounds = {rounds}\nparticipation.silos = {{ min = {quorum}, max = 8 }}\n'
        f"plan.learning_rate = {{ initial = 0.01 }}\n{extra}\n"
    )


def projector_of(spec: ProjectorSpec) -> bytes:
    """The initial projector's bytes."""
    return payload_bytes(values("initial", spec.num_elements), spec)


def delta_of(spec: ProjectorSpec, name: str) -> bytes:
    """A payload that admission lets in and that follows from `name`."""
    return payload_bytes(values(name, spec.num_elements, scale=0.001), spec)


@contextmanager
def serving(store: Store, **settings: object) -> Iterator[str]:
    """A replica over this store; its address. `limits` may be given as a dict."""
    limits = Limits.model_validate(settings.pop("limits", {}))
    quick = {"advance_interval_seconds": 0.1, "poll_interval_seconds": 0.1, "drain_seconds": 0.2}
    config = AggregatorConfig(
        **{"listen": "127.0.0.1:0", "store": "given", "limits": limits, **pki.settings(), **quick, **settings}
    )
    replica = Aggregator(config, store)
    address = f"127.0.0.1:{replica.port}"
    ENROL_AT[address] = f"127.0.0.1:{replica.enrolment_port}"
    try:
        yield address
    finally:
        replica.stop()


def connected(address: str, credentials: Credentials | None) -> grpc.Channel:
    """A connection of one's own over mutual TLS; without credentials, over TLS alone at the port for newcomers."""
    if credentials is None:
        return anonymous_channel(parse_address(ENROL_AT.get(address, address)), pki.operator().authorities_pem)
    trust = grpc.ssl_channel_credentials(
        credentials.authorities_pem.encode(), credentials.key.pem.encode(), credentials.chain_pem.encode()
    )
    return grpc.secure_channel(address, trust, options=CHANNEL_OPTIONS)


@contextmanager
def told() -> Iterator[None]:
    """Raises what the aggregator answered as our own errors."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_of(error) from error


class Operator:
    """An operator's calls."""

    def __init__(self, address: str, credentials: Credentials | None = OWN) -> None:
        self.address = address
        self.connect(connected(address, credentials))

    def connect(self, channel: grpc.Channel) -> None:
        """Calls over this channel from now on."""
        self.stub = admin_pb2_grpc.AdminServiceStub(channel)

    def call(self, method: str, request: object):
        """Any RPC, by its name; a stream is read to its end."""
        with told():
            answer = getattr(self.stub, method)(request, timeout=SECONDS)
            return list(answer) if isinstance(answer, grpc.Call) else answer

    def create(self, toml: str | bytes | None = None, *, projector: bytes | None = None, **fields: object):
        """Creates a federation; `fields` replace those of its definition."""
        projector = projector_of(TINY) if projector is None else projector
        text = definition() if toml is None else toml
        announced = {
            "toml": text if isinstance(text, bytes) else text.encode(),
            "projector_digest": hashlib.sha256(projector).digest(),
            "projector_size_bytes": len(projector),
            **fields,
        }
        part = admin_pb2.CreateFederationRequest
        chunks = (projector_pb2.Chunk(offset_bytes=offset, data=data) for offset, data in split(projector))
        return self.call(
            "CreateFederation",
            iter(
                [
                    part(definition=admin_pb2.FederationDefinition(**announced)),
                    *(part(chunk=chunk) for chunk in chunks),
                    part(finish=aggregator_pb2.PushFinish()),
                ]
            ),
        )

    def invitation(self, silo: str, *, federation: str = "harbour", replace: bool = False) -> Invitation:
        """Invites a silo; what its site gets."""
        request = admin_pb2.InviteSiloRequest(federation=federation, silo=silo, replace=replace)
        answer = self.call("InviteSilo", request)
        host, _, _ = self.address.rpartition(":")
        enrol_at = f"{host}:{answer.enrolment_port}"
        authorities = tuple(one.der for one in pki.operator().authorities)
        expires_at = answer.expires_at.ToDatetime(UTC)
        return Invitation(self.address, enrol_at, federation, silo, expires_at, answer.secret, authorities)

    def invite(self, silo: str, *, federation: str = "harbour", replace: bool = False) -> Credentials:
        """Invites and enrols a silo; its credentials."""
        return enrol(self.invitation(silo, federation=federation, replace=replace))

    def revoke(self, silo: str, *, federation: str = "harbour") -> None:
        """Bars a silo."""
        self.call("RevokeSilo", admin_pb2.RevokeSiloRequest(federation=federation, silo=silo))

    def release(self, silo: str, *, federation: str = "harbour") -> None:
        """Ends a quarantine."""
        self.call("ReleaseSilo", admin_pb2.ReleaseSiloRequest(federation=federation, silo=silo))

    def set_state(self, state: int, *, federation: str = "harbour", reason: str = ""):
        """Pauses, resumes or finishes a federation."""
        request = admin_pb2.SetFederationStateRequest(federation=federation, state=state, reason=reason)
        return self.call("SetFederationState", request)

    def status(self, federation: str = "harbour") -> admin_pb2.GetStatusResponse:
        """A federation's present."""
        return self.call("GetStatus", admin_pb2.GetStatusRequest(federation=federation))


@dataclass(frozen=True)
class Delta:
    """A push as a test may bend it."""

    header: ContributionHeader
    payload: bytes
    credentials: Credentials
    """Whose: they sign the header."""

    def but(self, **fields: object) -> "Delta":
        """The same push with other header fields, signed anew unless the signature is among them."""
        header = replace(self.header, **fields)
        return replace(self, header=header if "signature" in fields else signed(header, self.credentials))


def signed(header: ContributionHeader, credentials: Credentials) -> ContributionHeader:
    """The header under the silo's signature, with a nonce of its own unless it has one."""
    fresh = replace(header, nonce=header.nonce or secrets.token_bytes(16), signature=b"")
    statement = contribution_statement(fresh, silo=credentials.silo)
    return replace(fresh, signature=signer(credentials.signing_key)(statement))


class Silo:
    """A silo's calls."""

    def __init__(self, address: str, credentials: Credentials | None, *, federation: str = "harbour") -> None:
        self.address = address
        self.federation = federation
        self.credentials = credentials
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.connect(connected(address, credentials))

    def connect(self, channel: grpc.Channel) -> None:
        """Calls over this channel from now on."""
        self.channel = channel
        self.stub = aggregator_pb2_grpc.AggregatorServiceStub(channel)

    def round(self, *, after_round: int = 0, wait_seconds: float = 0.0) -> aggregator_pb2.GetRoundResponse:
        """The open round."""
        request = aggregator_pb2.GetRoundRequest(federation=self.federation, after_round=after_round)
        request.wait.FromNanoseconds(int(wait_seconds * 1e9))
        with told():
            return self.stub.GetRound(request, metadata=self.metadata, timeout=SECONDS)

    def pull(self, **request: object) -> tuple[projector_pb2.ProjectorManifest, bytes]:
        """A global projector's manifest, and its bytes from the offset asked for."""
        message = aggregator_pb2.PullProjectorRequest(federation=self.federation, **request)
        with told():
            first, *rest = self.stub.PullProjector(message, metadata=self.metadata, timeout=SECONDS)
        position = message.offset_bytes
        for part in rest:
            assert part.chunk.offset_bytes == position
            position += len(part.chunk.data)
        return first.header, b"".join(part.chunk.data for part in rest)

    def delta(self, spec: ProjectorSpec = TINY, name: str = "delta", payload: bytes | None = None) -> Delta:
        """A right push to the open round; its bytes follow from `name` and from the silo."""
        current = self.round()
        whose = self.credentials.spiffe_id if self.credentials else "nobody"
        payload = delta_of(spec, f"{name} of {whose}") if payload is None else payload
        header = ContributionHeader(
            federation=self.federation,
            round=current.round,
            base_digest=current.base_digest,
            spec_fingerprint=current.spec.fingerprint,
            payload_digest=hashlib.sha256(payload).digest(),
            payload_size_bytes=len(payload),
            num_examples=10,
            encoding=Encoding.FP32,
            metrics={"train_loss": 1.0},
        )
        return Delta(signed(header, self.credentials), payload, self.credentials)

    def push(self, delta: Delta, *, start: int = 0) -> Receipt:
        """Pushes from `start`."""
        return self.send(parts_of(delta, start=start))

    def send(self, parts: Iterable[aggregator_pb2.PushDeltaRequest], *, timeout: float = SECONDS) -> Receipt:
        """Pushes these very parts."""
        with told():
            answer = self.stub.PushDelta(iter(parts), metadata=self.metadata, timeout=timeout)
        return receipt_from_proto(answer.receipt)

    def start(self, parts: Iterable[aggregator_pb2.PushDeltaRequest]) -> grpc.Future:
        """Begins a push that sends these parts and then stays open; to be cancelled."""
        return self.stub.PushDelta.future(never_ending(parts), metadata=self.metadata, timeout=SECONDS)

    def push_status(self, delta: Delta) -> aggregator_pb2.GetPushStatusResponse:
        """What the aggregator has of a push."""
        request = aggregator_pb2.GetPushStatusRequest(
            federation=self.federation, round=delta.header.round, payload_digest=delta.header.payload_digest
        )
        with told():
            return self.stub.GetPushStatus(request, metadata=self.metadata, timeout=SECONDS)


def header_part(delta: Delta) -> aggregator_pb2.PushDeltaRequest:
    """The first part of a push."""
    return aggregator_pb2.PushDeltaRequest(header=header_to_proto(delta.header))


def chunk_part(offset_bytes: int, data: bytes) -> aggregator_pb2.PushDeltaRequest:
    """One chunk."""
    return aggregator_pb2.PushDeltaRequest(chunk=projector_pb2.Chunk(offset_bytes=offset_bytes, data=data))


FINISH = aggregator_pb2.PushDeltaRequest(finish=aggregator_pb2.PushFinish())


def parts_of(delta: Delta, *, start: int = 0) -> Iterator[aggregator_pb2.PushDeltaRequest]:
    """Every part of a push that goes on at `start`."""
    yield header_part(delta)
    for offset, data in split(delta.payload, start=start):
        yield chunk_part(offset, data)
    yield FINISH


def opening_of(delta: Delta, num_bytes: int) -> Iterator[aggregator_pb2.PushDeltaRequest]:
    """The header and the first bytes of a push, without finish."""
    yield header_part(delta)
    for offset, data in split(delta.payload[:num_bytes]):
        yield chunk_part(offset, data)


def never_ending(parts: Iterable[aggregator_pb2.PushDeltaRequest]) -> Iterator[aggregator_pb2.PushDeltaRequest]:
    """These parts, and then a stream that stays open without sending anything."""
    yield from parts
    threading.Event().wait(SECONDS)


def eventually(call, *, unless: type[IsthmusError] = IsthmusError):
    """What the call gives once that is true and not an error `unless`; fails when that takes too long."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with suppress(unless):
            if result := call():
                return result
        time.sleep(0.02)
    raise AssertionError("it did not come true")


def refusal(call) -> IsthmusError:
    """The error that the call ends in."""
    try:
        call()
    except IsthmusError as error:
        return error
    raise AssertionError("the call was not refused")
