"""A connection that is cut at any byte of its wire, in either direction: push and pull end as if nothing had been."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from aggregator.ledger import Ledger
from aggregator.stores import open_store
from aggregator.stores.contract import Store
from isthmus import ContributionHeader, Encoding, SiloClient
from isthmus.chunks import SEGMENT_BYTES
from isthmus.credentials import save_credentials
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import payload_bytes, values
from tests.serving import LARGE, Operator, definition, delta_of, projector_of, serving
from tests.tcp_proxy import TcpProxy

MIB = 1 << 20
MOST_RESENT = 8 << 20
"""Bytes that one interruption may send twice."""

SMALL = ProjectorSpec((TensorSpec("weight", "F32", (50, 1000)),))
"""A payload of 200 KB."""

OPENING = range(1, 1_600, 133)
"""Bytes of connection set-up, the call's metadata, the contribution header and the payload's first values."""
MIDDLE = range(17_000, 200_000, 20_011)
END = range(200_000, 201_200, 97)
"""The payload's last values, `finish`, and bytes that are never reached."""


@dataclass
class Site:
    """A silo's way to two replicas of one aggregator: each through a proxy that cuts."""

    store: Store
    proxies: tuple[TcpProxy, TcpProxy]
    operator: Operator
    folder: Path

    def enrolled(self, silo: str, *, federation: str) -> Path:
        """A new silo's credentials file."""
        file = self.folder / f"{silo}.pem"
        credentials = self.operator.invite(silo, federation=federation)
        save_credentials(file, credentials.pem)
        return file

    def client(self, credentials: Path, *, federation: str, both: bool) -> SiloClient:
        """A client of one replica, or of both."""
        address = ",".join(proxy.address for proxy in self.proxies[: 2 if both else 1])
        return SiloClient(address, federation=federation, credentials=credentials)

    @property
    def num_bytes_up(self) -> int:
        """What silos sent so far, set-up of connections included."""
        return sum(proxy.up.num_bytes for proxy in self.proxies)

    @property
    def num_cuts(self) -> int:
        """Connections cut so far."""
        return sum(way.num_cuts for proxy in self.proxies for way in (proxy.up, proxy.down))

    def cut(self, direction: str, *counts: int) -> None:
        """Cuts whichever connection carries this byte of this direction, at either proxy."""
        for proxy in self.proxies:
            getattr(proxy, direction).cut_after(*counts)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two replicas over one store; federation `small` of many silos, whose round stays open, and `large` of one."""
    store = open_store("memory:")
    with ExitStack() as stack:
        addresses = [stack.enter_context(serving(store)) for _ in range(2)]
        proxies = (stack.enter_context(TcpProxy(addresses[0])), stack.enter_context(TcpProxy(addresses[1])))
        operator = Operator(addresses[0])
        everybody = definition("small").replace("min = 2, max = 8", "min = 900, max = 900")
        operator.create(everybody, projector=projector_of(SMALL))
        operator.create(definition("large", quorum=1, rounds=9), projector=projector_of(LARGE))
        yield Site(store, proxies, operator, tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("both", [False, True], ids=["same", "any"])
def test_push_cut_at_any_byte_is_counted_once(site: Site, both: bool) -> None:
    """Wherever its connection is cut, a push ends in a receipt for its very bytes, and one contribution stands."""
    credentials = [
        (at, site.enrolled(f"silo-{int(both)}-{at}", federation="small")) for at in chain(OPENING, MIDDLE, END)
    ]
    num_cuts = site.num_cuts
    for at, file in credentials:
        payload = payload_bytes(values(f"{both} {at}", SMALL.num_elements, scale=0.001), SMALL)
        site.cut("up", at)
        with site.client(file, federation="small", both=both) as client:
            header = _header(client, payload)
            receipt = client.push_payload(header, payload)
        stored = Ledger(site.store).contribution("small", 1, receipt.silo)
        assert stored is not None
        assert hashlib.sha256(payload).digest() == receipt.payload_digest == stored.header.payload_digest
    site.cut("up")

    assert site.num_cuts - num_cuts >= len(OPENING) + len(MIDDLE)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_pull_cut_at_any_byte_is_whole(site: Site, direction: str) -> None:
    """Wherever its connection is cut, a pull gives the projector, byte for byte; each byte is taken once."""
    file = site.enrolled(f"puller-{direction}", federation="small")
    expected = projector_of(SMALL)
    for at in chain(OPENING, MIDDLE) if direction == "down" else OPENING:
        site.cut(direction, at)
        with site.client(file, federation="small", both=True) as client:
            pulled = client.pull(client.round())
        assert expected.endswith(pulled["weight"].numpy().tobytes())
    site.cut(direction)


def test_little_is_sent_twice(site: Site) -> None:
    """A push of 10 MB that is cut after every few megabytes sends at most 8 MiB again for each cut."""
    file = site.enrolled("large", federation="large")
    payload = delta_of(LARGE, "delta")
    with site.client(file, federation="large", both=True) as client:
        header = _header(client, payload)
        before, num_cuts = site.num_bytes_up, site.num_cuts
        site.cut("up", 3 * MIB + 11, SEGMENT_BYTES + 5, 3 * MIB)
        receipt = client.push_payload(header, payload)
        site.cut("up")
    interruptions = site.num_cuts - num_cuts

    assert receipt.payload_size_bytes == len(payload)
    assert interruptions >= 2
    assert site.num_bytes_up - before - len(payload) <= interruptions * MOST_RESENT


def _header(client: SiloClient, payload: bytes) -> ContributionHeader:
    current = client.round()
    return ContributionHeader(
        federation=client.federation,
        round=current.number,
        base_digest=current.base_digest,
        spec_fingerprint=current.spec.fingerprint,
        payload_digest=hashlib.sha256(payload).digest(),
        payload_size_bytes=len(payload),
        num_examples=1,
        encoding=Encoding.FP32,
        metrics={},
    )
