"""The SDK: what a silo needs to take part in a federation. Synchronous; one client is for one thread.

Every failure is one of `isthmus.errors`; transient ones are repeated here until patience is over (`isthmus.retry`).
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from isthmus.answers import round_from_proto
from isthmus.channel import Connection
from isthmus.checking import (
    require_asked_for,
    require_own_receipt,
    require_receipt,
    require_same_spec,
    require_signed_manifest,
    require_within,
    understood,
)
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.credentials import CredentialsFile
from isthmus.enrolling import renew_if_due
from isthmus.errors import IsthmusError, SignatureInvalid, SiloNotEnrolled
from isthmus.federation import FederationState
from isthmus.feedback import ErrorFeedback
from isthmus.manifest import ProjectorManifest
from isthmus.payload import layout
from isthmus.pulling import STREAM_SECONDS, Pulling
from isthmus.raw_streams import pull_projector, push_delta
from isthmus.retry import Patience, Waiter
from isthmus.round import PushStatus, Round
from isthmus.secure_aggregation.calls import MaskingCalls
from isthmus.secure_aggregation.contributing import push_masked
from isthmus.secure_aggregation.session import MaskedRounds
from isthmus.secure_aggregation.state import SecretsFolder
from isthmus.signing import signed, silos_own
from isthmus.spec import ProjectorSpec
from isthmus.tensors import Payload, Progress, chunks_of, contribution_of, decode, require_finite_projector
from isthmus.traces import silo_span
from isthmus.uploads import Data, Outgoing
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc
from isthmus.wire import header_to_proto, manifest_from_proto, receipt_from_proto

LONG_POLL_SECONDS = 30.0
"""How long one GetRound waits for a later round; short enough for every proxy, and asked again at once."""

PAUSED_SECONDS = 5.0
"""How long `rounds` waits before it asks a paused federation again."""

IDLE_SECONDS = 1.0
"""How long `rounds` waits after a long poll without news: a busy aggregator answers those at once."""


class SiloClient:
    """One silo's connection to one federation.

    Args:
        address: Of the aggregator, "host:port"; several replicas: "host1:port,host2:port", or a name with all their
            addresses; "tls://host:port" trusts the system's certificate authorities. See `isthmus.addresses`.
        federation: The federation's name.
        credentials: The silo's credentials file, as `isthmus silo enrol` wrote it. Its certificate is renewed in time.
        patience_seconds: How long a call goes on repeating itself without any progress before it raises.
        deadline_seconds: Of each single answer that is no stream; a long poll's own wait comes on top.
        progress: Told of bytes pulled and pushed.
        secrets: Folder of what secure aggregation must not forget; None: beside the credentials.

    Raises:
        ConfigInvalid: The credentials file is missing or damaged, or the address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        federation: str,
        credentials: str | Path,
        patience_seconds: float = 600.0,
        deadline_seconds: float = 30.0,
        progress: Progress | None = None,
        secrets: Path | None = None,
    ) -> None:
        self.federation = federation
        self._patience = Patience(total_seconds=patience_seconds)
        self._deadline_seconds = deadline_seconds
        self._progress: Progress = progress or (lambda phase, done, size: None)
        self._file = CredentialsFile(credentials)
        self._connection = Connection(address, self._file)
        self._stub = aggregator_pb2_grpc.AggregatorServiceStub(self._connection.channel)
        self._push_delta = push_delta(self._connection.channel)
        self._pulling = Pulling(
            self._connection,
            pull_projector(self._connection.channel),
            self._patience,
            lambda done, size: self._progress("pull", done, size),
            self._require_signed,
        )
        calls = MaskingCalls(self._connection, self._stub, federation, self._patience, deadline_seconds)
        self.masked = MaskedRounds(
            calls, SecretsFolder(secrets or Path(f"{credentials}.masks") / federation), lambda: silos_own(self._file)
        )
        self._base_digest, self._memory = b"", bytearray()  # filled again and again: fresh memory costs more
        self._spec: ProjectorSpec | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call and closes the connection."""
        self._connection.close()

    def round(self, *, after_round: int = 0, wait_seconds: float = 0.0) -> Round:
        """The open round: at once, or once it is later than `after_round`, at the latest after `wait_seconds`.

        The aggregator caps the wait at 60 s. A paused or finished federation answers at once; see `Round.state`.

        Raises:
            AggregatorUntrusted: The answer holds a receipt that is not the aggregator's own for this silo and round.
            IsthmusError: FederationUnknown, IdentityInvalid, or AggregatorUnreachable when patience is over.
        """
        renew_if_due(self._connection, self._file, federation=self.federation)
        request = aggregator_pb2.GetRoundRequest(federation=self.federation, after_round=after_round)
        request.wait.FromNanoseconds(int(wait_seconds * 1e9))
        timeout = self._deadline_seconds + wait_seconds
        reply = self._connection.persist(
            lambda: self._stub.GetRound(request, timeout=timeout, metadata=self._connection.metadata),
            patience=self._patience,
        )
        current = understood(lambda: round_from_proto(reply, federation=self.federation), what="the round")
        self._spec = require_same_spec(current.spec, self._spec or current.spec, federation=self.federation)
        self._require_own(current.receipt, current.number)
        return current

    def manifest(self, round: Round, number: int) -> ProjectorManifest:
        """The signed manifest of a global projector of the round's spec, without its bytes.

        Raises:
            AggregatorUntrusted: The aggregator did not sign it.
            IsthmusError: As `round`.
        """
        end = layout(round.spec, Encoding.FP32).size_bytes
        request = aggregator_pb2.PullProjectorRequest(federation=self.federation, number=number, offset_bytes=end)

        def first() -> ProjectorManifest:
            parts = self._stub.PullProjector(
                request, timeout=self._deadline_seconds, metadata=self._connection.metadata
            )
            return understood(lambda: manifest_from_proto(next(parts).header), what=f"the manifest of {number}")

        manifest = self._connection.persist(first, patience=self._patience)
        self._require_signed(manifest)
        return require_asked_for(manifest, number=number, federation=self.federation)

    def rounds(self) -> Iterator[Round]:
        """Every round that this silo has not contributed to yet, as it opens and once each, until all are done.

        Waits for as long as it takes while a round is open elsewhere or the federation is paused.

        Raises:
            IsthmusError: As `round`.
        """
        seen = 0
        while True:
            current = self.round(after_round=seen, wait_seconds=LONG_POLL_SECONDS if seen else 0.0)
            if current.state is FederationState.FINISHED:
                return
            if current.state is FederationState.PAUSED:
                time.sleep(PAUSED_SECONDS)
            elif current.number <= seen:
                time.sleep(IDLE_SECONDS)
            else:
                seen = current.number
                if not self.masked.attend(current) and current.receipt is None:
                    yield current

    def pull(self, round: Round) -> dict[str, torch.Tensor]:
        """The global projector that the round starts from: float32 on the CPU, the caller's to change.

        A copy stays here for `push`, which makes the delta in its place: to push twice is to pull again.

        Raises:
            SpecMismatch: The projector is not of the round's spec.
            PayloadDigestMismatch: Its bytes do not have the digest the round announced.
            IsthmusError: What the aggregator answered, or AggregatorUnreachable when patience is over.
        """
        return {name: tensor.clone() for name, tensor in self._base_of(round).items()}

    def push(
        self,
        round: Round,
        local: Mapping[str, torch.Tensor],
        *,
        num_examples: int,
        metrics: Mapping[str, float] | None = None,
        feedback: ErrorFeedback | None = None,
    ) -> Receipt:
        """Pushes delta = local - base in the round's encoding; returns once it is durable and counted.

        With secure aggregation the delta is masked, and this waits for the other silos (`isthmus.secure_aggregation`).

        Args:
            round: The round that is contributed to.
            local: The trained projector (not the delta): names and shapes of the round's spec, any floating dtype.
            num_examples: Samples trained on: the weight claimed for the delta.
            metrics: Finite numbers that travel along, for example {"train_loss": 2.5}.
            feedback: Adds what the encoding lost of earlier deltas, and keeps what it loses of this one, where the
                federation asks for that.

        Raises:
            RefusedDelta: The delta is wrong; honest mistakes are found before anything is sent.
            RoundMoved: The round went on without this delta; continue with the next of `rounds`.
            ContributionConflict: This silo already contributed other bytes to this round.
            IsthmusError: Anything else that the aggregator answered, or AggregatorUnreachable.
        """
        if round.masks is not None:
            base = self._base_of(round)
            contribute = partial(push_masked, self.masked, round, push=self.push_payload, local=local, base=base)
            return contribute(num_examples=num_examples, metrics=metrics)
        if feedback is not None:
            feedback.recover(
                lambda number, digest: self.push_status(number, digest).receipt is not None, but_round=round.number
            )
        make = feedback.contribution_of if feedback else partial(contribution_of, in_place=True)
        base = self._base_of(round)
        memory, self._memory, self._base_digest = self._memory, bytearray(), b""
        header, payload = make(round, local=local, base=base, num_examples=num_examples, metrics=metrics)
        receipt = self.push_payload(header, payload)
        self._memory = memory
        if feedback is not None:
            feedback.settle(header)
        return receipt

    def sign(self, header: ContributionHeader) -> ContributionHeader:
        """The header under this silo's signature: as it is where today's signing key signed it, else signed anew.

        An outbox keeps what this gives before it is pushed, so that a repeat of the push carries the same signature.

        Raises:
            ConfigInvalid: The credentials hold no signing key, or name no silo.
        """
        return signed(header, silos_own(self._file))

    def push_payload(self, header: ContributionHeader, payload: Payload | Path | str | bytes) -> Receipt:
        """Pushes an encoded delta, for example a file of an outbox; continues where an earlier push of it broke.

        Repeating it with the same payload is safe and gives the same receipt. See `sign` for what it does to the
        header; a silo that enrols anew meanwhile goes on under its new key.

        Raises:
            ConfigInvalid: The file cannot be read or is not as long as the header says; or see `sign`.
            PayloadMalformed: It is neither a file nor bytes.
            IsthmusError: As `push`.
        """
        chunks = chunks_of(payload, size_bytes=header.payload_size_bytes)
        round_number, digest = header.round, header.payload_digest
        waiter = Waiter(self._patience)
        durable = 0
        with silo_span("silo.push", self.federation, header.round, silo=self._file.current().silo):
            while True:
                header = self.sign(header)
                try:
                    status = self._connection.call(lambda: self._status_of(round_number, digest))
                    if status.receipt is not None:
                        return self._believed(status.receipt, header)
                    if require_within(status.committed_bytes, header) > durable:
                        durable = status.committed_bytes
                        waiter.progressed()
                    return self._believed(self._push_once(header, chunks(status.committed_bytes)), header)
                except (SignatureInvalid, SiloNotEnrolled):
                    if self.sign(header) is header:
                        raise  # else the silo enrolled anew since it was signed
                except IsthmusError as error:
                    waiter.after(error)

    def push_status(self, round_number: int, payload_digest: bytes) -> PushStatus:
        """How many bytes of a push are durable at the aggregator, and its receipt once it is counted.

        Raises:
            IsthmusError: As `round`.
        """
        status = self._connection.persist(
            lambda: self._status_of(round_number, payload_digest), patience=self._patience
        )
        self._require_own(status.receipt, round_number, payload_digest=payload_digest)
        return status

    def _status_of(self, round_number: int, payload_digest: bytes) -> PushStatus:
        request = aggregator_pb2.GetPushStatusRequest(
            federation=self.federation, round=round_number, payload_digest=payload_digest
        )
        reply = self._stub.GetPushStatus(request, timeout=self._deadline_seconds, metadata=self._connection.metadata)
        receipt = receipt_from_proto(reply.receipt) if reply.HasField("receipt") else None
        return PushStatus(reply.committed_bytes, receipt)

    def _believed(self, receipt: Receipt, header: ContributionHeader) -> Receipt:
        """The receipt, if it is for this push and the aggregator's own."""
        credentials = self._file.current()
        require_receipt(receipt, header, silo=credentials.silo, keys=credentials.aggregator_keys)
        return receipt

    def _require_own(self, receipt: Receipt | None, round_number: int, *, payload_digest: bytes = b"") -> None:
        """Checks a receipt that an answer holds, where it holds one."""
        if receipt is not None:
            credentials = silos_own(self._file)
            require_own_receipt(
                receipt,
                federation=self.federation,
                round_number=round_number,
                silo=credentials.silo,
                keys=credentials.aggregator_keys,
                payload_digest=payload_digest,
            )

    def _push_once(self, header: ContributionHeader, chunks: Iterator[tuple[int, Data]]) -> Receipt:
        outgoing = Outgoing(
            header_to_proto(header), chunks, report=lambda done: self._progress("push", done, header.payload_size_bytes)
        )
        try:
            reply = self._connection.call(
                lambda: self._push_delta(iter(outgoing), timeout=STREAM_SECONDS, metadata=self._connection.metadata)
            )
        except IsthmusError as error:
            raise outgoing.failure or error from None
        return receipt_from_proto(reply.receipt)

    def _require_signed(self, manifest: ProjectorManifest) -> None:
        keys = self._file.current().aggregator_keys
        require_signed_manifest(manifest, federation=self.federation, keys=keys)

    def _base_of(self, round: Round) -> dict[str, torch.Tensor]:
        """The round's global projector as pulled, once for all uses; not to be changed."""
        if self._base_digest != round.base_digest:
            room, self._memory, self._base_digest = self._memory, bytearray(), b""
            data = self._pulling.projector_of(round, silo=self._file.current().silo, room=room)
            projector = understood(lambda: decode(data, round.spec), what="the projector")
            require_finite_projector(projector, number=round.number - 1)
            self._memory, self._base_digest = data, round.base_digest
        return decode(self._memory, round.spec)
