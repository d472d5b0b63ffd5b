"""What the target of streams runs: AggregatorService over a store in memory, called as gRPC calls it, without gRPC."""

import time
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from types import SimpleNamespace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding as Form

from aggregator.config import Limits
from aggregator.ledger import Ledger
from aggregator.metrics.meters import Meters
from aggregator.rpc.cuttable import Beside
from aggregator.rpc.identity import Callers
from aggregator.rpc.masking import Masking
from aggregator.rpc.present import Presents
from aggregator.rpc.pushes import Allowances, Pushes
from aggregator.rpc.quota import Quota
from aggregator.rpc.rates import UploadRate
from aggregator.rpc.room import StoreRoom
from aggregator.rpc.service import AggregatorService
from aggregator.rpc.slots import Slots
from aggregator.rpc.watch import RoundWatch
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from aggregator.vouching import Authorities
from isthmus.contribution import ContributionHeader, Receipt
from isthmus.v1 import aggregator_pb2
from isthmus.wire import receipt_from_proto
from tests import pki
from tests.ledgers import NAME as FEDERATION
from tests.ledgers import after, credential_record, definition, found, invitation

SILOS = ("a", "b")
ROUNDS = 2


class Replica:
    """A replica that has just started: it remembers nothing of what the store holds.

    Args:
        store: Where all state is.
    """

    def __init__(self, store: Store) -> None:
        ledger, limits, meters = Ledger(store), Limits(), Meters()
        slots = Slots(limits, monotonic=time.monotonic)
        quota = Quota(max_staged_bytes=limits.max_staged_bytes_per_silo, max_attempts=limits.max_attempts_per_silo)
        allowances = Allowances(
            quota=quota,
            rate=UploadRate(limits.max_uploads_per_hour, monotonic=time.monotonic),
            room=StoreRoom(ledger, limits.max_store_bytes_per_federation),
        )
        self._service = AggregatorService(
            ledger,
            callers=_callers(),
            seal=pki.seal(),
            pushes=Pushes(
                ledger,
                slots=slots,
                allowances=allowances,
                clock=_clock,
                on_answer=lambda: None,
                meters=meters,
            ),
            watch=RoundWatch(ledger, interval_seconds=1.0, monotonic=time.monotonic),
            presents=Presents(ledger, seconds=1.0, monotonic=time.monotonic),
            masking=Masking(ledger, on_answer=lambda: None),
            slots=slots,
            beside=_beside(),
            clock=_clock,
            meters=meters,
        )

    def push(self, silo: str, messages: Iterator[aggregator_pb2.PushDeltaRequest]) -> Receipt:
        """The answer to a stream of these messages; raises what the service raises."""
        return receipt_from_proto(self._service.PushDelta(messages, _call_of(silo)).receipt)

    def committed_bytes(self, silo: str, header: ContributionHeader) -> int:
        """What is durable of a push, as its silo is told."""
        request = aggregator_pb2.GetPushStatusRequest(
            federation=FEDERATION, round=header.round, payload_digest=header.payload_digest
        )
        return self._service.GetPushStatus(request, _call_of(silo)).committed_bytes


def founded() -> MemoryStore:
    """A store with the federation, just created, and its silos, just enrolled."""
    store = MemoryStore()
    for key, content in _founded().items():
        store.put(key, content)
    return store


@cache
def _founded() -> dict[str, bytes]:
    store = MemoryStore()
    found(Ledger(store), definition(quorum=1, rounds=ROUNDS), silos=SILOS)
    return {entry.key: store.get(entry.key) for entry in store.list("")}


@cache
def _beside() -> Beside:
    """One for all replicas of all runs: it keeps nothing but threads, and a run's streams are nested two deep."""
    return Beside(4)


@cache
def _callers() -> Callers:
    authorities = Authorities(pki.folder() / "authority.pem", clock=lambda: after(1))
    return Callers(authorities, trust_domain=pki.TRUST_DOMAIN, operators=(), plaintext=False)


@cache
def _call_of(silo: str) -> SimpleNamespace:
    """A call as gRPC shows it: with the certificate that the silo enrolled."""
    der = credential_record(invitation(silo)).certificate
    pem = x509.load_der_x509_certificate(der).public_bytes(Form.PEM)
    return SimpleNamespace(
        auth_context=lambda: {"x509_pem_cert": [pem]},
        invocation_metadata=lambda: (),
        is_active=lambda: True,
        cancel=lambda: True,
    )


def _clock() -> datetime:
    return after(1)
