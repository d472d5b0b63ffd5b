"""A real aggregator as a process of its own, over a folder, for tests that need one on the other side of a socket."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from isthmus.cli import main
from tests import pki

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")},
    "PYTHONPATH": f"{ROOT / 'common'}{os.pathsep}{ROOT}",
    "OMP_NUM_THREADS": "1",
}
"""For child processes: they find the tree as an installed project would be found, and no settings of this machine."""


@dataclass
class RealAggregator:
    """One replica; `folder` holds its store, its settings and the operator's credentials file."""

    folder: Path
    address: str = ""
    enrolment_port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def operator(self) -> Path:
        """The operator's credentials file."""
        return self.folder / "operator.pem"

    def start(self, *, port: int = 0) -> None:
        """Starts the process and waits until it serves."""
        with (self.folder / "aggregator.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aggregator", "serve", "--config", "aggregator.toml", "--port", str(port)],
                cwd=self.folder,
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().split()
        assert ready[:1] == ["ready:"], (self.folder / "aggregator.log").read_text()
        self.address = ready[1]
        self.enrolment_port = int(ready[-1].rpartition(":")[2])

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def restart(self) -> None:
        """Kills the process and starts another one at the same address over the same store."""
        self.kill()
        self.start(port=int(self.address.rpartition(":")[2]))


def enrol_silo(aggregator: RealAggregator, silo: str, *, federation: str) -> Path:
    """Invites a silo and enrols it, both by the command line; its credentials file in the aggregator's folder."""
    out, token = aggregator.folder / f"{silo}.pem", aggregator.folder / f"{silo}.invitation"
    calls = ["--aggregator", aggregator.address, "--credentials", str(aggregator.operator), "--federation", federation]
    with redirect_stdout(io.StringIO()):
        assert main(["silo", "invite", silo, "--out", str(token), *calls]) == 0
        assert main(["silo", "enrol", "--token-file", str(token), "--out", str(out)]) == 0
    return out


@contextmanager
def real_aggregator(folder: Path, *, settings: str = "") -> Iterator[RealAggregator]:
    """A running aggregator over `folder`/store; see `real_replicas`."""
    with real_replicas(folder, 1, settings=settings) as (aggregator,):
        yield aggregator


@contextmanager
def real_replicas(
    folder: Path, count: int, *, store: str = "store", settings: str = ""
) -> Iterator[list[RealAggregator]]:
    """Running aggregators over one store, each a process of its own.

    Args:
        folder: Empty; the operator's credentials file is written there.
        count: How many.
        store: A folder within `folder`, or the URL of a bucket.
        settings: Further TOML of their configuration.
    """
    replicas = [RealAggregator(folder) for _ in range(count)]
    shutil.copy(pki.folder() / "operator.pem", replicas[0].operator)
    (folder / "aggregator.toml").write_text(
        f'listen = "127.0.0.1:0"\nstore = "{store}"\nadvance_interval_seconds = 0.05\npoll_interval_seconds = 0.05\n'
        f"{pki.toml(settings)}"
    )
    try:
        for replica in replicas:
            replica.start()
        yield replicas
    finally:
        for replica in replicas:
            if replica.process is not None:
                replica.kill()
