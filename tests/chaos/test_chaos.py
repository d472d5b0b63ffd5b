"""The short form of the storm: real processes, every kind of fault once, the right projectors in the end."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos.processes import ROOT, environment

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Stormed:
    """What a storm came to: its exit code, all that it printed, and its report."""

    code: int
    said: str
    report: dict[str, Any]

    def failing(self, play: str) -> list[str]:
        """The cells of a play that broke something, or were not run."""
        cells = [cell for cell in self.report["cells"] if cell["play"] == play]
        assert cells, self.said
        return [
            f"{cell['role']}:{cell['point']}:{cell['fault']}" for cell in cells if cell["failed"] or not cell["runs"]
        ]


@pytest.fixture(scope="module")
def stormed(tmp_path_factory: pytest.TempPathFactory) -> Stormed:
    """Both legs, one after the other, by one nursery: importing everything is what takes longest."""
    folder = tmp_path_factory.mktemp("storm")
    storm = [sys.executable, "-m", "tests.chaos", "--short", "--times", "1", "--kills", "40", "--seconds", "200"]
    finished = subprocess.run(
        [*storm, "--folder", str(folder), "--out", str(folder / "report")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads((folder / "report" / "report.json").read_text())
    return Stormed(finished.returncode, finished.stdout + finished.stderr, report)


def test_what_is_killed_and_cut_off_ends_as_if_nothing_had_happened(stormed: Stormed) -> None:
    """Replicas and agents that are killed, stopped and cut off at every kind of point publish the undisturbed bytes."""
    assert [] == stormed.failing("plain"), stormed.said


def test_masks_stand_what_is_killed(stormed: Stormed) -> None:
    """Killed around keys, vectors, reveals and sums, a round gives the mean or no change, and no mask is used twice."""
    assert [] == stormed.failing("masked"), stormed.said


def test_nothing_else_went_wrong(stormed: Stormed) -> None:
    """So many processes were killed as were to be, each leg published something, and the storm ends well."""
    assert (0, []) == (stormed.code, stormed.report["complaints"]), stormed.said
