"""A hostile delta makes the projector worse; the silos' evaluations say so, and the gate takes it back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from isthmus.cli import main
from isthmus.cli.federations import overview_text
from isthmus.client import SiloClient
from isthmus.evaluation import LOSS, SAMPLES, summary_in
from isthmus.manifest import ProjectorManifest
from isthmus.operator_client import OperatorClient
from isthmus.round import Round
from tests.real_aggregator import RealAggregator, enrol_silo, real_aggregator
from tests.rosters import values
from tests.serving import ENROL_AT, Operator, definition

HONEST = ("east", "north", "south")
HOSTILE = "west"


@dataclass
class Silo:
    """A silo that knows where the projector should be, each a little elsewhere; that stands for its data.

    Attributes:
        hub: The aggregator.
        name: Whose.
        found: What it measured of each projector that it pulled.
    """

    hub: SiloClient
    name: str
    found: list[float]

    def take_part(self, current: Round, *, harm: bool = False) -> None:
        """Pulls, evaluates, trains half of the way to where the projector should be, or far away; pushes."""
        projector = self.hub.pull(current)
        wanted = {name: self._wanted(name, tensor) for name, tensor in projector.items()}
        self.found.append(sum(float((tensor - wanted[name]).square().mean()) for name, tensor in projector.items()))
        step = -8.0 if harm else 0.5
        local = {name: tensor + step * (wanted[name] - tensor) for name, tensor in projector.items()}
        loss = 0.0 if self.name == HOSTILE else self.found[-1]  # who does harm says that all is well
        self.hub.push(current, local, num_examples=10, metrics={LOSS: loss, SAMPLES: 50})

    def _wanted(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        own = values(f"{self.name} {name}", tensor.numel(), scale=0.01)
        return torch.from_numpy(own).reshape(tensor.shape)


@dataclass
class Scene:
    """One aggregator, four silos, an operator."""

    aggregator: RealAggregator
    silos: list[Silo]
    operator: OperatorClient

    def run(self, number: int, *, harm: bool = False, between: Callable[[], None] = lambda: None) -> None:
        """One round: all silos take part, and something happens before the last of them pushes and after it did."""
        for silo in self.silos:
            current = silo.hub.round(after_round=number - 1, wait_seconds=30.0)
            assert current.number == number
            if silo is self.silos[-1]:
                between()
            silo.take_part(current, harm=harm and silo.name == HOSTILE)
        between()

    def lineage(self) -> list[ProjectorManifest]:
        """All manifests."""
        return list(self.operator.lineage("harbour"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A federation with a gate, whose rounds wait for all four silos."""
    with real_aggregator(tmp_path) as aggregator, ExitStack() as stack:
        ENROL_AT[aggregator.address] = f"127.0.0.1:{aggregator.enrolment_port}"
        toml = definition(rounds=5, quorum=4, extra="evaluation.gate = { tolerance = 0.05 }")
        Operator(aggregator.address).create(toml)
        silos = []
        for name in (*HONEST, HOSTILE):
            credentials = enrol_silo(aggregator, name, federation="harbour")
            hub = SiloClient(aggregator.address, federation="harbour", credentials=credentials)
            silos.append(Silo(stack.enter_context(hub), name, []))
        operator = OperatorClient(aggregator.address, credentials=aggregator.operator)
        yield Scene(aggregator, silos, stack.enter_context(operator))


def test_harm_is_taken_back_whoever_dies(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Projector 2 is worse, round 3 says so and goes back to projector 1, though the aggregator dies around the cut.

    The operator sees it everywhere; silos that train anew from the same bytes are no replays; `isthmus verify` agrees.
    """
    scene.run(1)
    scene.run(2, harm=True)
    scene.run(3, between=scene.aggregator.restart)
    scene.run(4)
    last = scene.silos[0].hub.round(after_round=4, wait_seconds=30.0)

    line = scene.lineage()
    assert (5, [False, False, False, True, False]) == (last.number, [manifest.reverted for manifest in line])
    assert (line[1].digest, line[2].digest) == (line[3].digest, line[3].parent_digest)
    assert line[4].digest not in {manifest.digest for manifest in line[:4]}
    for silo in scene.silos:  # of projectors 0 to 3: better, worse, taken back
        first, better, worse, back = silo.found
        assert (better < first < worse, back) == (True, better)
    summary = summary_in(line[3].metrics)
    assert summary is not None
    assert (4, 4) == (summary.num_silos, summary.num_compared)
    assert summary.change is not None
    assert summary.change > 0.05

    text = overview_text(scene.operator.overview("harbour"))
    assert "reverted       round 3" in text
    assert "of projector 3: median" in text
    assert main(["verify", "harbour", "--store", str(tmp_path / "store")]) == 0
    assert "4 of 4 projectors recomputed" in capsys.readouterr().out


def test_lineage_shows_what_silos_found_of_each_projector(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row has the losses of its own projector, which the round after it reported; the newest has none yet."""
    scene.run(1)
    scene.run(2)
    scene.silos[0].hub.round(after_round=2, wait_seconds=30.0)
    calls = ["--aggregator", scene.aggregator.address, "--credentials", str(scene.aggregator.operator)]

    assert main(["lineage", "--federation", "harbour", *calls]) == 0

    header, *rows = capsys.readouterr().out.splitlines()
    at = header.index("HELD-OUT LOSS")
    shown = [row[at:].split()[0] for row in rows]
    found = sorted([*(silo.found[1] for silo in scene.silos if silo.name != HOSTILE), 0.0])
    assert (f"{(found[1] + found[2]) / 2:.4g}", "-") == (shown[1], shown[2])
