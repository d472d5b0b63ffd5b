"""A real Ray cluster on loopback: nodes of one processor each, every node with processes of its own.

Ray takes 127.0.0.1 for "find my address in the network", so nodes listen at 127.0.0.2 and on.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from aggregator.config import Combine
from aggregator.sharding.cluster import Cluster
from aggregator.stores import open_store
from isthmus.errors import ConfigInvalid
from tests.real_aggregator import ENVIRONMENT

START_SECONDS = 60.0
OBJECT_STORE_BYTES = 160 << 20

ENVIRONMENT_OF_RAY = {**ENVIRONMENT, "RAY_USAGE_STATS_ENABLED": "0"}


def require_ray() -> None:
    """Skips the tests of the module that calls it where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed; `make ray-test` installs it", allow_module_level=True)


class RealCluster:
    """A running cluster.

    Attributes:
        address: Of its head.
        folder: Of its logs and sessions; a short path, since Ray puts sockets there.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
            self.address = f"127.0.0.2:{probe.getsockname()[1]}"
        self.folder = folder
        self._nodes: list[subprocess.Popen[bytes]] = []

    def add_node(self) -> None:
        """Starts a node: the first one is the head."""
        number = len(self._nodes)
        head = ["--head", f"--port={self.address.rpartition(':')[2]}", f"--temp-dir={self.folder / 'ray'}"]
        head.append("--include-dashboard=false")
        with (self.folder / f"node-{number}.log").open("wb") as log:
            command = [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"),
                *(head if number == 0 else [f"--address={self.address}"]),
                *(f"--node-ip-address=127.0.0.{2 + number}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
                "--disable-usage-stats",
            ]
            self._nodes.append(
                subprocess.Popen(command, env=ENVIRONMENT_OF_RAY, stdout=log, stderr=log, start_new_session=True)
            )

    def wait(self, *, store: Path, machines: int) -> None:
        """Waits until so many nodes compute."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with suppress(ConfigInvalid):
                cluster = Cluster(Combine(by="ray", address=self.address), store_url=str(store))
                if cluster.check(open_store(str(store)))["machines"] == machines:
                    return
            time.sleep(0.5)
        raise AssertionError("\n".join(log.read_text() for log in sorted(self.folder.glob("node-*.log"))))

    def tasks(self) -> list[int]:
        """Processes of this cluster that compute a part now."""
        import psutil  # only this needs it

        sessions, found = {node.pid for node in self._nodes}, []
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            with suppress(ProcessLookupError):
                if command.startswith("ray::combine") and os.getsid(process.pid) in sessions:
                    found.append(process.pid)
        return found

    def stop(self) -> None:
        """Ends every process of every node."""
        for node in reversed(self._nodes):
            node.send_signal(signal.SIGTERM)
        for node in reversed(self._nodes):
            with suppress(subprocess.TimeoutExpired):
                node.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()


@contextmanager
def real_cluster(folder: Path, *, machines: int) -> Iterator[RealCluster]:
    """A cluster of so many nodes, all of which see the disk of this machine."""
    cluster = RealCluster(folder)
    store = folder / "probed"
    store.mkdir()
    try:
        for _ in range(machines):
            cluster.add_node()
            cluster.wait(store=store, machines=len(cluster._nodes))
        yield cluster
    finally:
        cluster.stop()
