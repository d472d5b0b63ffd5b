"""The short form of the storm: real processes, every kind of fault once, the right projectors in the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.processes import ROOT, environment


@pytest.mark.slow
def test_what_is_killed_and_cut_off_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Replicas and agents that are killed, stopped and cut off at every kind of point publish the undisturbed bytes."""
    _rage("plain", kills=25, folder=tmp_path)


@pytest.mark.slow
def test_masks_stand_what_is_killed(tmp_path: Path) -> None:
    """Killed around keys, vectors, reveals and sums, a round gives the mean or no change, and no mask is used twice."""
    _rage("masked", kills=15, folder=tmp_path)


def _rage(leg: str, *, kills: int, folder: Path) -> None:
    options = ["--leg", leg, "--short", "--times", "1", "--kills", str(kills), "--seconds", "150"]
    storm = [sys.executable, "-m", "tests.chaos", *options]
    finished = subprocess.run(
        [*storm, "--folder", str(folder), "--out", str(folder / "report")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (finished.returncode, finished.stderr) == (0, ""), finished.stdout + finished.stderr
