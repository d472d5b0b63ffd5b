"""What an operator refuses of an aggregator over real mutual TLS: manifests and receipts that it did not sign."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from aggregator.rpc.seal import Seal
from isthmus import OperatorClient
from isthmus.contribution import Receipt
from isthmus.errors import AggregatorUntrusted
from isthmus.keys import new_signing_key
from isthmus.manifest import ProjectorManifest
from isthmus.v1 import admin_pb2, admin_pb2_grpc
from isthmus.wire import instant_to_proto, spec_to_proto
from tests import pki
from tests.rosters import TINY

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECEIPT = Receipt("harbour", 2, "north", b"p" * 32, 99, 7, 2.5, NOW, 3)
FORGER = Seal(new_signing_key())


def manifest(number: int) -> ProjectorManifest:
    """One of two projectors."""
    return ProjectorManifest(number, b"d" * 32, 99, NOW)


@dataclass
class LyingAdmin(admin_pb2_grpc.AdminServiceServicer):
    """Tells operators of a federation with a projector and a receipt, signed as it is told.

    Attributes:
        seals: Of the manifests, by number; the aggregator's own for others.
        receipt: Of silo north, as it is sent.
        invited: The silos that were invited.
    """

    seals: dict[int, Seal] = field(default_factory=dict)
    receipt: Any = None
    invited: list[str] = field(default_factory=list)

    def _sealed(self, number: int, federation: str) -> Any:
        return self.seals.get(number, pki.seal()).manifest(manifest(number), federation=federation)

    def GetStatus(self, request: admin_pb2.GetStatusRequest, context: grpc.ServicerContext) -> Any:
        """The present."""
        silo = admin_pb2.SiloStatus(silo="north", active=True, receipt=self.receipt)
        return admin_pb2.GetStatusResponse(
            summary=admin_pb2.FederationSummary(federation=request.federation, state=1),
            opened_at=instant_to_proto(NOW),
            spec=spec_to_proto(TINY),
            latest=self._sealed(1, request.federation),
            silos=[silo, admin_pb2.SiloStatus(silo="south", active=True)],
        )

    def ListProjectors(self, request: admin_pb2.ListProjectorsRequest, context: grpc.ServicerContext) -> Any:
        """One projector a page."""
        number = request.first_number
        page = [self._sealed(number, request.federation)]
        return admin_pb2.ListProjectorsResponse(projectors=page, next_number=(1, 0)[number])

    def InviteSilo(self, request: admin_pb2.InviteSiloRequest, context: grpc.ServicerContext) -> Any:
        """Notes it."""
        self.invited.append(request.silo)
        return admin_pb2.InviteSiloResponse(secret=b"s" * 32, expires_at=instant_to_proto(NOW))


@contextmanager
def asking(admin: LyingAdmin) -> Iterator[OperatorClient]:
    """An operator of that aggregator."""
    with ThreadPoolExecutor(max_workers=4) as threads:
        server = grpc.server(threads, options=(("grpc.so_reuseport", 0),))
        admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
        port = server.add_secure_port("127.0.0.1:0", pki.server_credentials())
        server.start()
        try:
            with OperatorClient(f"127.0.0.1:{port}", credentials=pki.folder() / "operator.pem") as client:
                yield client
        finally:
            server.stop(grace=None).wait()


def refused(ask: Callable[[], object]) -> object:
    """Which check refuses the aggregator's answer to a question."""
    with pytest.raises(AggregatorUntrusted) as caught:
        ask()
    return caught.value.details["check"]


def test_what_the_aggregator_signed_is_believed() -> None:
    """Signed manifests and receipts, of whichever round that may still be counted, are told as they came."""
    with asking(LyingAdmin(receipt=pki.seal().receipt(RECEIPT))) as client:
        assert [0, 1] == [one.number for one in client.lineage("harbour")]
        present = client.overview("harbour")
        assert [True, False] == [one.receipt is not None for one in present.silos]
        assert "harbour" == client.invite("harbour", "east").federation


@pytest.mark.parametrize("number", [0, 1])
def test_lineage_with_a_manifest_of_another_key_is_refused(number: int) -> None:
    """One manifest that the aggregator did not sign, on whichever page, and no lineage is told."""
    with asking(LyingAdmin(seals={number: FORGER})) as client:
        assert "manifest_signature" == refused(lambda: client.lineage("harbour"))


def test_status_under_a_manifest_of_another_key_is_refused() -> None:
    """A manifest that the aggregator did not sign is not believed in a status, and nobody is invited under one."""
    admin = LyingAdmin(seals={0: FORGER, 1: FORGER})
    with asking(admin) as client:
        asks = (lambda: client.overview("harbour"), lambda: client.invite("harbour", "east"))
        assert ["manifest_signature"] * 2 == [refused(ask) for ask in asks]
    assert [] == admin.invited


@pytest.mark.parametrize(
    ("receipt", "check"),
    [
        (FORGER.receipt(RECEIPT), "receipt_signature"),
        (pki.seal().receipt(replace(RECEIPT, silo="south")), "receipt"),
        (pki.seal().receipt(replace(RECEIPT, federation="other")), "receipt"),
    ],
    ids=["another key", "another silo", "another federation"],
)
def test_status_with_a_forged_receipt_is_refused(receipt: Any, check: str) -> None:
    """A silo counts as having contributed only by a receipt that is its own and that the aggregator signed."""
    with asking(LyingAdmin(receipt=receipt)) as client:
        assert check == refused(lambda: client.overview("harbour"))
