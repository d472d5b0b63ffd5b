"""What an operator calls: create federations, invite silos, look at both. Imports no torch, so it starts at once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from isthmus.addresses import parse_address
from isthmus.answers import overview_from_proto, summary_from_proto
from isthmus.certificates import read_certificates
from isthmus.channel import Connection
from isthmus.checking import require_own_receipt, require_signed_manifest
from isthmus.credentials import CredentialsFile
from isthmus.downloads import Download, Sink
from isthmus.federation import FederationState
from isthmus.invitation import Invitation
from isthmus.manifest import ProjectorManifest
from isthmus.overview import FederationOverview, FederationSummary
from isthmus.retry import Patience, Waiter
from isthmus.spec import ProjectorSpec
from isthmus.uploads import Chunks
from isthmus.v1 import admin_pb2, admin_pb2_grpc, aggregator_pb2, projector_pb2
from isthmus.wire import instant_from_proto, manifest_from_proto, spec_from_proto, state_to_proto

Reply = TypeVar("Reply")

STREAM_SECONDS = 600.0
"""Deadline of one stream."""


class OperatorClient:
    """An operator's connection to an aggregator.

    Args:
        address: Of the aggregator, "host:port"; several replicas: "host1:port,host2:port", or a name with all their
            addresses; "tls://host:port" trusts the system's certificate authorities. See `isthmus.addresses`.
        credentials: The operator's credentials file, as `isthmus ca operator` wrote it.
        patience_seconds: How long a call repeats itself without progress: short, for a person is waiting.
        deadline_seconds: Of each single answer that is no stream.

    Raises:
        ConfigInvalid: The credentials file is missing or is damaged, or the address is none.
    """

    def __init__(
        self, address: str, *, credentials: str | Path, patience_seconds: float = 15.0, deadline_seconds: float = 30.0
    ) -> None:
        self._patience = Patience(total_seconds=patience_seconds)
        self._deadline_seconds = deadline_seconds
        self._file = CredentialsFile(credentials)
        self._connection = Connection(address, self._file)
        self._stub = admin_pb2_grpc.AdminServiceStub(self._connection.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call and closes the connection."""
        self._connection.close()

    def create(self, toml: str, *, digest: bytes, size_bytes: int, chunks: Chunks) -> tuple[ProjectorSpec, bool]:
        """Creates a federation with its initial projector.

        Args:
            toml: The federation as its operator wrote it.
            digest: SHA-256 of the initial projector's bytes (safetensors without metadata, all F32).
            size_bytes: Their size.
            chunks: Gives them.

        Returns:
            What deltas look like, and whether it is new (False: it existed already with identical content).

        Raises:
            FederationInvalid: The TOML is wrong; names the key.
            FederationExists: One of that name exists with another content.
            RefusedDelta: The initial projector is wrong.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        definition = admin_pb2.FederationDefinition(
            toml=toml.encode(), projector_digest=digest, projector_size_bytes=size_bytes
        )
        reply = self._connection.persist(
            lambda: self._stub.CreateFederation(
                _creation(definition, chunks), timeout=STREAM_SECONDS, metadata=self._connection.metadata
            ),
            patience=self._patience,
        )
        return spec_from_proto(reply.spec), reply.created

    def set_state(self, federation: str, state: FederationState, *, reason: str = "") -> None:
        """Pauses, resumes or finishes a federation.

        Raises:
            FederationFinished: Finished is final.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        request = admin_pb2.SetFederationStateRequest(federation=federation, state=state_to_proto(state), reason=reason)
        self._unary(self._stub.SetFederationState, request)

    def federations(self) -> list[FederationSummary]:
        """Every federation, sorted by name.

        Raises:
            IsthmusError: What the aggregator answered, or AggregatorUnreachable.
        """
        reply = self._unary(self._stub.ListFederations, admin_pb2.ListFederationsRequest())
        return [summary_from_proto(summary) for summary in reply.federations]

    def overview(self, federation: str) -> FederationOverview:
        """Everything about a federation's present: rounds, silos, who is waited for and why.

        Raises:
            AggregatorUntrusted: The aggregator did not sign its manifest, or a silo's receipt, or that is another's.
            IsthmusError: What the aggregator answered, or AggregatorUnreachable.
        """
        reply = self._unary(self._stub.GetStatus, admin_pb2.GetStatusRequest(federation=federation))
        present = overview_from_proto(reply)
        keys = self._file.current().aggregator_keys
        require_signed_manifest(present.latest, federation=federation, keys=keys)
        for one in present.silos:
            if one.receipt is not None:
                trained_in = one.receipt.round  # in buffered mode any that may still be counted
                require_own_receipt(
                    one.receipt, federation=federation, round_number=trained_in, silo=one.silo, keys=keys
                )
        return present

    def invite(
        self,
        federation: str,
        silo: str,
        *,
        replace: bool = False,
        valid_seconds: int = 0,
        address: str = "",
        enrol_at: str = "",
    ) -> Invitation:
        """Invites a silo; the invitation holds a secret, which nobody can give again. See `isthmus.enrolling.enrol`.

        Never repeated by itself: when the answer is lost, invite the silo again.
        Of several replicas it asks one that has just answered.

        Args:
            federation: Which federation.
            silo: The silo's name.
            replace: Invite a silo that is enrolled already, and void its credentials at once.
            valid_seconds: How long the invitation may be used; 0: a day.
            address: The aggregator's address as the silo reaches it; "": this client's.
            enrol_at: Where the silo enrols; "": at the hosts of `address`, at the port that the aggregator names.

        Raises:
            SiloExists: It is enrolled already, and `replace` is False.
            NameInvalid: It is no silo's name.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        self._lineage_from(federation, 0)  # repeated until a replica answers; an overview reads every silo's documents
        request = admin_pb2.InviteSiloRequest(
            federation=federation, silo=silo, replace=replace, valid_seconds=valid_seconds
        )
        answer = self._connection.call(
            lambda: self._stub.InviteSilo(request, timeout=self._deadline_seconds, metadata=self._connection.metadata)
        )
        reached_at = parse_address(address) if address else self._connection.address
        authorities = read_certificates(answer.authorities_pem, where="the answer") if answer.authorities_pem else ()
        return Invitation(
            aggregator=reached_at.text,
            enrol_at=enrol_at or (reached_at.with_port(answer.enrolment_port) if answer.enrolment_port else ""),
            federation=federation,
            silo=silo,
            expires_at=instant_from_proto(answer.expires_at),
            secret=answer.secret,
            authorities=tuple(one.der for one in authorities or self._file.current().authorities),
        )

    def revoke(self, federation: str, silo: str) -> None:
        """Bars a silo from its next call on; what it contributed before stays.

        Raises:
            SiloUnknown: No silo of that name is enrolled.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        self._unary(self._stub.RevokeSilo, admin_pb2.RevokeSiloRequest(federation=federation, silo=silo))

    def release(self, federation: str, silo: str) -> None:
        """Ends a silo's quarantine: what was refused before counts for nothing. Safe to repeat.

        Raises:
            SiloUnknown: No silo of that name is enrolled.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        self._unary(self._stub.ReleaseSilo, admin_pb2.ReleaseSiloRequest(federation=federation, silo=silo))

    def lineage(self, federation: str) -> list[ProjectorManifest]:
        """The manifests of all global projectors, from the initial one.

        Raises:
            AggregatorUntrusted: The aggregator did not sign one of them.
            IsthmusError: What the aggregator answered, or AggregatorUnreachable.
        """
        manifests, following = self._lineage_from(federation, 0)
        while following:
            more, following = self._lineage_from(federation, following)
            manifests += more
        return manifests

    def export(
        self, federation: str, number: int, *, sink: Sink, report: Callable[[int, int], None] | None = None
    ) -> ProjectorManifest:
        """Streams a global projector into `sink`, continuing broken streams; its digest is checked at the end.

        Args:
            federation: Which federation.
            number: Of the projector; 0 is the initial one.
            sink: Takes the bytes.
            report: Told (bytes done, bytes in all) after every chunk.

        Raises:
            ProjectorUnknown: It was not published (yet).
            PayloadDigestMismatch: The bytes are not those of the manifest; the sink holds nothing of use.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        keys = self._file.current().aggregator_keys
        download = Download(
            sink,
            waiter=Waiter(self._patience),
            report=report or _silent,
            judge=lambda manifest: require_signed_manifest(manifest, federation=federation, keys=keys),
        )
        return download.run(
            lambda offset: self._connection.stream(
                lambda: self._stub.ExportProjector(
                    admin_pb2.ExportProjectorRequest(federation=federation, number=number, offset_bytes=offset),
                    timeout=STREAM_SECONDS,
                    metadata=self._connection.metadata,
                )
            )
        )

    def _lineage_from(self, federation: str, number: int) -> tuple[list[ProjectorManifest], int]:
        """The manifests that one answer holds, signed by the aggregator, and where to go on; 0: that was all."""
        request = admin_pb2.ListProjectorsRequest(federation=federation, first_number=number)
        reply = self._unary(self._stub.ListProjectors, request)
        manifests = [manifest_from_proto(one) for one in reply.projectors]
        keys = self._file.current().aggregator_keys
        for manifest in manifests:
            require_signed_manifest(manifest, federation=federation, keys=keys)
        return manifests, reply.next_number

    def _unary(self, method: Callable[..., Reply], request: object) -> Reply:
        return self._connection.persist(
            lambda: method(request, timeout=self._deadline_seconds, metadata=self._connection.metadata),
            patience=self._patience,
        )


def _creation(
    definition: admin_pb2.FederationDefinition, chunks: Chunks
) -> Iterator[admin_pb2.CreateFederationRequest]:
    yield admin_pb2.CreateFederationRequest(definition=definition)
    for offset, data in chunks(0):
        yield admin_pb2.CreateFederationRequest(chunk=projector_pb2.Chunk(offset_bytes=offset, data=bytes(data)))
    yield admin_pb2.CreateFederationRequest(finish=aggregator_pb2.PushFinish())


def _silent(done: int, size: int) -> None:
    """Reports nothing."""
