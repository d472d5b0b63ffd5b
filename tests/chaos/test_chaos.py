"""The short form of the storm: real processes, every kind of fault once, the same projectors in the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.processes import ROOT, environment


@pytest.mark.slow
def test_what_is_killed_and_cut_off_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Replicas and agents that are killed, stopped and cut off at every kind of point publish the undisturbed bytes."""
    storm = [sys.executable, "-m", "tests.chaos", "--short", "--times", "1", "--kills", "25", "--seconds", "150"]
    finished = subprocess.run(
        [*storm, "--folder", str(tmp_path), "--out", str(tmp_path / "report")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (finished.returncode, finished.stderr) == (0, ""), finished.stdout + finished.stderr
