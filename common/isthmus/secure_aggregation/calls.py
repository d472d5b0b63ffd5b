"""The calls of secure aggregation over a client's connection, repeated by its rules."""

from dataclasses import dataclass

from isthmus.channel import Connection
from isthmus.checking import understood
from isthmus.retry import Patience
from isthmus.round import Round
from isthmus.secure_aggregation.keys import KeyOffer, KeyRoster
from isthmus.secure_aggregation.messages import offer_to_proto, roster_from_proto
from isthmus.secure_aggregation.state import Secrets
from isthmus.v1 import aggregator_pb2, aggregator_pb2_grpc


@dataclass(frozen=True, slots=True)
class MaskingCalls:
    """One federation's; each raises what its comment in aggregator.proto lists, as errors of ours."""

    connection: Connection
    stub: aggregator_pb2_grpc.AggregatorServiceStub
    federation: str
    patience: Patience
    deadline_seconds: float

    def offer_key(self, offer: KeyOffer, /) -> None:
        """OfferKey."""
        request = offer_to_proto(offer)
        self.connection.persist(
            lambda: self.stub.OfferKey(request, timeout=self.deadline_seconds, metadata=self.connection.metadata),
            patience=self.patience,
        )

    def key_roster(self, current: Round, /) -> tuple[KeyRoster | None, bool]:
        """GetKeyRoster."""
        request = aggregator_pb2.GetKeyRosterRequest(federation=self.federation, round=current.number)
        reply = self.connection.persist(
            lambda: self.stub.GetKeyRoster(request, timeout=self.deadline_seconds, metadata=self.connection.metadata),
            patience=self.patience,
        )
        return understood(lambda: roster_from_proto(reply, current), what="the key roster"), reply.is_complete

    def reveal_seed(self, kept: Secrets, *, round_number: int, signature: bytes) -> None:
        """RevealSeed."""
        request = aggregator_pb2.RevealSeedRequest(
            federation=self.federation,
            round=round_number,
            transcript=bytes.fromhex(kept.transcript),
            seed=bytes.fromhex(kept.seed),
            signature=signature,
        )
        self.connection.persist(
            lambda: self.stub.RevealSeed(request, timeout=self.deadline_seconds, metadata=self.connection.metadata),
            patience=self.patience,
        )
