"""The examples, run as a newcomer runs them: as processes, against a real aggregator."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from isthmus.credentials import load_credentials, save_credentials
from isthmus.enrolling import enrol
from isthmus.federation import FederationState, parse_federation
from isthmus.operator_client import OperatorClient
from isthmus.projectors.initial import initial_projector
from isthmus.uploads import chunks_of_parts
from tests.real_aggregator import ENVIRONMENT, ROOT, RealAggregator, real_aggregator

TOML = """
name = "{name}"
rounds = 2

[participation]
silos = {{ min = {silos}, max = {silos} }}

[plan]
local_steps = 20
learning_rate = {{ initial = 0.05 }}

[projector]
kind = "mlp"
options = {{ in_features = 8, hidden_features = 16, out_features = 4 }}
seed = 1
"""


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAggregator]:
    """One aggregator for all examples."""
    with real_aggregator(tmp_path_factory.mktemp("aggregator")) as running:
        yield running


def create(client: OperatorClient, name: str, *, silos: list[str], folder: Path) -> dict[str, torch.Tensor]:
    """Creates a federation of these silos, writes their credentials, and gives the initial projector."""
    toml = TOML.format(name=name, silos=len(silos))
    _, payload = initial_projector(parse_federation(toml))
    client.create(toml, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks_of_parts(payload.parts))
    for silo in silos:
        save_credentials(folder / f"{silo}.pem", enrol(client.invite(name, silo)).pem)
    return safetensors.torch.load(b"".join(payload.parts))


def start(example: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Starts an example as a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_fifteen_line_silo_goes_through_all_rounds(aggregator: RealAggregator, tmp_path: Path) -> None:
    """The example finishes a federation of two rounds by itself, and the global projector is what it "trained"."""
    with OperatorClient(aggregator.address, credentials=aggregator.operator) as client:
        initial = create(client, "fifteen", silos=["alpha"], folder=tmp_path)

        silo = start("fifteen_line_silo.py", aggregator.address, "fifteen", tmp_path / "alpha.pem")
        out, err = silo.communicate(timeout=60)

        assert (0, "") == (silo.returncode, err), out
        present = client.overview("fifteen")
        assert (FederationState.FINISHED, 2) == (present.summary.state, present.latest.number)
        sink = tmp_path / "projector.safetensors"
        with sink.open("wb") as file:
            client.export("fifteen", 2, sink=_Appending(file))
    final = safetensors.torch.load_file(sink)
    ratios = torch.cat([(final[name] / initial[name]).flatten() for name in initial if initial[name].any()])
    assert 0.98**2 - 1e-5 < ratios.min() <= ratios.max() < 0.99**2 + 1e-5


def test_fifteen_line_silo_has_fifteen_lines() -> None:
    """The example keeps its promise: at most fifteen lines of code."""
    lines = (ROOT / "examples" / "fifteen_line_silo.py").read_text().splitlines()[1:]

    assert sum(bool(line.strip()) for line in lines) <= 15


def test_training_silos_learn_together(aggregator: RealAggregator, tmp_path: Path) -> None:
    """Two silos of the second example end with a global projector that fits both their data better than the first."""
    with OperatorClient(aggregator.address, credentials=aggregator.operator) as client:
        create(client, "training", silos=["alpha", "beta"], folder=tmp_path)
        silos = [
            start("training_silo.py", aggregator.address, "training", tmp_path / f"{name}.pem", str(seed))
            for seed, name in enumerate(("alpha", "beta"))
        ]
        ended = [(silo.communicate(timeout=60), silo.returncode) for silo in silos]

        assert [0, 0] == [code for _, code in ended], ended
        losses = [manifest.metrics["train_loss"] for manifest in client.lineage("training")[1:]]
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_example_without_enrolment_says_why(aggregator: RealAggregator, tmp_path: Path) -> None:
    """With a credential that is enrolled nowhere, the silo ends with our error, whose last line is a sentence."""
    silo = start("fifteen_line_silo.py", aggregator.address, "fifteen", aggregator.operator)

    _, err = silo.communicate(timeout=60)

    assert silo.returncode == 1
    assert err.splitlines()[-1].startswith("isthmus.errors.calls.FederationUnknown: There is no federation 'fifteen'")
    assert load_credentials(aggregator.operator).certificate.key_sha256 not in err


class _Appending:
    """A sink that writes to a file."""

    def __init__(self, file) -> None:
        self._file = file

    def begin(self, manifest) -> None:
        """Takes any projector."""

    def write(self, offset: int, data: bytes) -> None:
        """Writes the next bytes."""
        self._file.write(data)
