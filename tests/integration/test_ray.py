"""A real Ray cluster of two nodes combines rounds: the same bytes, whoever dies. `make ray-test` installs Ray."""

import itertools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aggregator.check import check
from aggregator.config import AggregatorConfig, Combine
from aggregator.ledger import Ledger
from aggregator.rules import RULES
from aggregator.server_optimizers import SERVER_OPTIMIZERS
from aggregator.sharding.cluster import Cluster
from aggregator.stores import open_store
from aggregator.stores.local import LocalStore
from isthmus.errors import ClusterUnavailable
from isthmus.spec import ProjectorSpec, TensorSpec
from tests import pki
from tests.ledgers import NAME, found, staged
from tests.ray_cluster import RealCluster, real_cluster, require_ray
from tests.real_stores import bucket_of_its_own
from tests.sharded_rounds import blobs_of, contribute_all, definition, expected, found_sharded, published

require_ray()

SHARDABLE = [name for name, entry in RULES.items() if entry.coordinate_wise]
LARGE = ProjectorSpec((TensorSpec("weight", "F32", (2048, 1024)),))
SILOS = tuple("abcdefgh")
"""Of LARGE, so that a part takes long enough to be killed in."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RealCluster]:
    """Two nodes of one processor each."""
    with tempfile.TemporaryDirectory(prefix="isthmus-ray-") as folder, real_cluster(Path(folder), machines=2) as one:
        yield one


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A scratch folder."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def combining(cluster: RealCluster, store: str, **settings: object) -> Cluster:
    """A replica's end of the cluster, for rounds of any size."""
    given = {"by": "ray", "address": cluster.address, "least_bytes": 0, **settings}
    return Cluster(Combine.model_validate(given), store_url=store)


def found_large(folder: Path) -> Ledger:
    """A round of eight silos whose parts take a while; every delta is in."""
    ledger = Ledger(LocalStore(folder))
    found(ledger, definition("trimmed_mean", "adam", silos=len(SILOS)), silos=SILOS, spec=LARGE)
    for silo in SILOS:
        ledger.commit_contribution(staged(ledger, silo, segment_bytes=4 << 20))
    return ledger


@pytest.mark.parametrize("strategy", list(itertools.product(SHARDABLE, SERVER_OPTIMIZERS)), ids="-".join)
def test_cluster_publishes_what_one_process_does(
    cluster: RealCluster, tmp_path: Path, scratch: Path, strategy: tuple[str, str]
) -> None:
    """Two rounds of every rule and server optimizer: manifests, projectors and states are the same, byte for byte."""
    wanted = expected(LocalStore(tmp_path / "one"), scratch, *strategy)
    ledger = found_sharded(LocalStore(tmp_path / "many"), *strategy)

    for number, (manifest, blobs) in enumerate(wanted, start=1):
        contribute_all(ledger, number)
        combine = combining(cluster, str(tmp_path / "many")).combine
        assert published(ledger, scratch, combine=combine) == manifest
        assert blobs_of(ledger, manifest) == blobs


def test_cluster_reads_a_bucket(cluster: RealCluster, tmp_path: Path, scratch: Path) -> None:
    """Over a real bucket, which machines need not share a disk for, the bytes are the same."""
    url = bucket_of_its_own()
    (manifest, blobs), _ = expected(LocalStore(tmp_path / "one"), scratch, "median", "yogi")
    ledger = found_sharded(open_store(url), "median", "yogi")
    contribute_all(ledger, 1)

    assert published(ledger, scratch, combine=combining(cluster, url).combine) == manifest
    assert blobs_of(ledger, manifest) == blobs


def test_check_says_that_the_cluster_works(cluster: RealCluster, tmp_path: Path) -> None:
    """`aggregator check` tries the cluster, too."""
    settings = {"store": str(tmp_path / "store"), "combine": {"by": "ray", "address": cluster.address}}

    *_, last = check(AggregatorConfig.model_validate({**settings, **pki.settings()}))

    assert last.startswith(f"combine: the Ray cluster at {cluster.address} reads the store")


class Killer:
    """Kills processes that compute a part, with SIGKILL, as soon as it sees them."""

    def __init__(self, cluster: RealCluster, *, most: int) -> None:
        self.killed: list[int] = []
        self._cluster, self._most, self._ended = cluster, most, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while len(self.killed) < self._most and not self._ended.is_set():
            for process in self._cluster.tasks()[: self._most - len(self.killed)]:
                os.kill(process, signal.SIGKILL)
                self.killed.append(process)
            time.sleep(0.02)


def test_killed_worker_loses_nothing(cluster: RealCluster, tmp_path: Path, scratch: Path) -> None:
    """Workers killed in the middle of a part: it is computed again, and the bytes are those of one process."""
    manifest = published(found_large(tmp_path / "one"), scratch)
    ledger = found_large(tmp_path / "many")

    with Killer(cluster, most=2) as killer:
        given = published(ledger, scratch, combine=combining(cluster, str(tmp_path / "many")).combine)

    assert len(killer.killed) == 2
    assert given == manifest


def test_workers_that_always_die_leave_the_round_to_another_replica(
    cluster: RealCluster, tmp_path: Path, scratch: Path
) -> None:
    """Where each try is killed, the replica is told, publishes nothing, lives, and the round is combined elsewhere."""
    manifest = published(found_large(tmp_path / "one"), scratch)
    ledger = found_large(tmp_path / "many")

    with Killer(cluster, most=1000) as killer, pytest.raises(ClusterUnavailable, match="Ray cluster"):
        published(ledger, scratch, combine=combining(cluster, str(tmp_path / "many")).combine)

    assert len(killer.killed) > 3
    assert ledger.latest_number(NAME) == 0
    assert published(Ledger(LocalStore(tmp_path / "many")), scratch) == manifest


def test_cluster_that_goes_away_takes_no_replica_with_it(tmp_path: Path, scratch: Path) -> None:
    """All of the cluster ends in the middle of a round: an error in words, and the next try publishes."""
    ledger = found_large(tmp_path / "many")
    with tempfile.TemporaryDirectory(prefix="isthmus-ray-") as folder, real_cluster(Path(folder), machines=1) as one:
        end = threading.Thread(target=lambda: (_until(one.tasks), one.stop()))
        end.start()
        with pytest.raises(ClusterUnavailable):
            published(ledger, scratch, combine=combining(one, str(tmp_path / "many"), idle_seconds=20.0).combine)
        end.join()

    assert published(ledger, scratch).number == 1


def _until(found: Callable[[], list[int]]) -> None:
    end = time.monotonic() + 60
    while not found() and time.monotonic() < end:
        time.sleep(0.02)
