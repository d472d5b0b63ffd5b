"""A replica's end of a cluster, and its driver, over a stand-in for Ray: what is published, and what is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.config import AggregatorConfig, Combine
from aggregator.ledger import Ledger
from aggregator.publication import in_process
from aggregator.sharding import worker
from aggregator.sharding.cluster import Cluster, combining_of
from aggregator.sharding.messages import Order, Round, code_digest, error_from_json, error_to_json, to_json
from aggregator.stores import open_store
from aggregator.stores.local import LocalStore
from isthmus.errors import ClusterUnavailable, ConfigInvalid, InvariantBroken, StoreUnavailable
from tests import pki
from tests.ledgers import NAME
from tests.real_aggregator import ENVIRONMENT, ROOT
from tests.sharded_rounds import BUDGET_BYTES, blobs_of, contribute_all, expected, found_sharded, published

FAKE = f"{ROOT / 'tests' / 'fake_ray'}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"


@pytest.fixture(autouse=True)
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers find the stand-in, whether Ray is installed or not."""
    monkeypatch.setenv("PYTHONPATH", FAKE)
    monkeypatch.setenv("FAKE_RAY", "")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A scratch folder."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def cluster_of(folder: Path, **settings: object) -> Cluster:
    """A cluster that combines rounds of any size."""
    return Cluster(Combine(by="ray", least_bytes=0, **settings), store_url=str(folder))  # type: ignore[arg-type]


def config(store: str, **combine: object) -> AggregatorConfig:
    """A replica's settings."""
    return AggregatorConfig(**{"store": store, "combine": {"by": "ray", **combine}, **pki.settings()})


def test_cluster_publishes_what_one_process_does(tmp_path: Path, scratch: Path) -> None:
    """Two rounds by the driver and its tasks have the manifests and the bytes of two rounds in one process."""
    wanted = expected(LocalStore(tmp_path / "one"), scratch, "trimmed_mean", "adam")
    ledger = found_sharded(LocalStore(tmp_path / "many"), "trimmed_mean", "adam")

    for number, (manifest, blobs) in enumerate(wanted, start=1):
        contribute_all(ledger, number)
        assert published(ledger, scratch, combine=cluster_of(tmp_path / "many").combine) == manifest
        assert blobs_of(ledger, manifest) == blobs


@pytest.mark.parametrize("wrong", ["dies", "dies after 2", "bug", "gone", "absent"])
def test_round_that_a_cluster_lost_is_combined_again(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Whatever ends a driver, nothing is published then, and the next replica publishes what it should be."""
    (manifest, _), _ = expected(LocalStore(tmp_path / "one"), scratch, "mean", "sgd")
    ledger = found_sharded(LocalStore(tmp_path / "many"), "mean", "sgd")
    contribute_all(ledger, 1)
    monkeypatch.setenv("FAKE_RAY", wrong)

    with pytest.raises((ClusterUnavailable, InvariantBroken, ConfigInvalid)):
        published(ledger, scratch, combine=cluster_of(tmp_path / "many").combine)

    assert ledger.latest_number(NAME) == 0
    assert list(scratch.iterdir()) == []
    assert published(Ledger(LocalStore(tmp_path / "many")), scratch) == manifest


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("dies", (ClusterUnavailable, "ended with 7")),
        ("gone", (ClusterUnavailable, r"cluster at auto failed .*nothing answers at auto.*ray start")),
        ("silent", (ClusterUnavailable, r"Nothing came from the Ray cluster at auto for 5 s.*ray status")),
        ("bug", (InvariantBroken, "failed with a ZeroDivisionError")),
        ("absent", (ConfigInvalid, r"needs the package ray.*pip install '\.\[ray\]'")),
    ],
)
def test_what_is_wrong_with_a_cluster_is_said(
    wrong: str, error: tuple[type[Exception], str], tmp_path: Path, *, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way to lose a cluster is a typed error that says what to do."""
    ledger = found_sharded(LocalStore(tmp_path / "store"), "mean", "sgd")
    contribute_all(ledger, 1)
    monkeypatch.setenv("FAKE_RAY", wrong)

    with pytest.raises(error[0], match=error[1]):
        published(ledger, scratch, combine=cluster_of(tmp_path / "store", idle_seconds=5.0).combine)


def test_driver_that_never_starts_is_the_clusters_fault(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that ends before it reads its order is told as a lost cluster, in its own last words."""
    ledger = found_sharded(LocalStore(tmp_path / "store"), "mean", "sgd")
    contribute_all(ledger, 1)
    monkeypatch.setattr("aggregator.sharding.cluster.sys.executable", _bare_python(tmp_path))

    with pytest.raises(ClusterUnavailable, match="ended with 3: no module of that name"):
        published(ledger, scratch, combine=cluster_of(tmp_path / "store").combine)


def _bare_python(folder: Path) -> str:
    """A Python that can start nothing."""
    file = folder / "python"
    file.write_text("#!/bin/sh\nexec 0<&-\necho no module of that name >&2\nexit 3\n")
    file.chmod(0o755)
    return str(file)


def test_small_rounds_ask_no_cluster(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round below `least_bytes` is combined in the replica."""
    ledger = found_sharded(LocalStore(tmp_path / "store"), "mean", "sgd")
    contribute_all(ledger, 1)
    monkeypatch.setenv("FAKE_RAY", "dies")
    cluster = Cluster(Combine(by="ray"), store_url=str(tmp_path / "store"))

    assert published(ledger, scratch, combine=cluster.combine).number == 1


def test_start_tries_every_machine(tmp_path: Path) -> None:
    """A replica whose cluster works starts; nothing of the try is left in the store."""
    store = LocalStore(tmp_path / "store")

    combine = combining_of(config(str(tmp_path / "store")), store)

    assert combine is not in_process
    assert [entry.key for entry in store.list("")] == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("absent", r"needs the package ray.*pip install '\.\[ray\]'"),
        ("gone", r'combine\.by = "ray": The Ray cluster at auto failed.*Or set combine\.by to "process"'),
        ("dies", r"driver of the Ray cluster at auto ended with 7"),
        ("empty", "has no processor"),
    ],
)
def test_start_without_a_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, words: str
) -> None:
    """A replica that is to use a cluster and cannot does not start, and says what to do."""
    monkeypatch.setenv("FAKE_RAY", wrong)
    store = LocalStore(tmp_path / "store")

    with pytest.raises(ConfigInvalid, match=words):
        combining_of(config(str(tmp_path / "store")), store)
    assert [entry.key for entry in store.list("")] == []


def test_start_needs_a_store_that_machines_share(tmp_path: Path) -> None:
    """A store in memory is refused, and so is a machine that sees another store."""
    with pytest.raises(ConfigInvalid, match="memory: is none"):
        combining_of(config("memory:"), open_store("memory:"))
    with pytest.raises(
        ConfigInvalid, match=r"machine 127\.0\.0\.1 of the Ray cluster cannot combine: It sees another store"
    ):
        combining_of(config(str(tmp_path / "other")), LocalStore(tmp_path / "store"))


def test_process_is_the_default(tmp_path: Path) -> None:
    """Without a word about it, no cluster is asked."""
    settings = AggregatorConfig(**{"store": str(tmp_path / "store"), **pki.settings()})

    assert combining_of(settings, LocalStore(tmp_path / "store")) is in_process


@pytest.mark.parametrize("address", ["", "http://a:1", "a", "ray://a:1", "a:b"])
def test_address_of_no_cluster_is_refused(address: str) -> None:
    """An address is host:port or auto."""
    with pytest.raises(ValueError, match="address"):
        Combine(address=address)


def test_other_code_is_refused(tmp_path: Path) -> None:
    """A task of a replica that runs other code is not computed: it might give other bytes."""
    wrong, part = worker.combine(to_json(Round(str(tmp_path), NAME, 1, BUDGET_BYTES, code="0" * 64)), 0, 1)

    assert part == b""
    with pytest.raises(ConfigInvalid, match="other code"):
        raise error_from_json(wrong)


def test_task_before_the_roster_is_our_bug(tmp_path: Path) -> None:
    """A range of a round that has no roster is told as broken."""
    found_sharded(LocalStore(tmp_path / "store"), "mean", "sgd")
    asked = Round(str(tmp_path / "store"), NAME, 1, BUDGET_BYTES, code=code_digest())

    wrong, _ = worker.combine(to_json(asked), 0, 1)

    assert json.loads(wrong)["reason"] == "INVARIANT_BROKEN"


def test_errors_keep_their_kind() -> None:
    """What a task raised is raised in the replica."""
    given = error_from_json(error_to_json(StoreUnavailable("The bucket is away.")))

    assert (StoreUnavailable, "The bucket is away.") == (type(given), str(given))


def test_driver_ends_with_its_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver whose standard input ends, as it does when its replica is killed, ends too, whatever it waits for."""
    environment = {**ENVIRONMENT, "PYTHONPATH": FAKE, "FAKE_RAY": "silent"}
    driver = subprocess.Popen(
        [sys.executable, "-m", "aggregator.sharding.driver"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    said, _ = driver.communicate(to_json(Order("auto", 3600.0)) + b"\n", timeout=30)

    assert (1, b"") == (driver.returncode, said)


def test_replica_knows_no_ray(tmp_path: Path, scratch: Path) -> None:
    """Combining by a cluster loads nothing of Ray into the replica's own process."""
    ledger = found_sharded(LocalStore(tmp_path / "store"), "mean", "sgd")
    contribute_all(ledger, 1)

    published(ledger, scratch, combine=cluster_of(tmp_path / "store").combine)

    assert "ray" not in sys.modules
