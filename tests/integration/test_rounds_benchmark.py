"""The benchmark of a whole round measures real rounds: its smoke run, through real processes."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.rounds.compared import Sweep, bars, ratios, walls
from benchmarks.rounds.guard import bounds
from benchmarks.rounds.measured import Measured, value_at
from benchmarks.rounds.meter import Sample

ROOT = Path(__file__).parents[2]


def one(system: str, *, wall: float, mib: float = 200.0, cpu: float = 1.0) -> Measured:
    """A measurement of eight silos."""
    return Measured(
        system,
        8,
        80,
        False,
        wall_seconds=[wall, wall],
        first_seconds=1.0,
        server_cpu_seconds=cpu,
        idle_mib=100.0,
        peak_mib=mib,
        loopback_bytes=1000.0,
    )


def test_smoke_run_measures_real_rounds(tmp_path: Path) -> None:
    """Two silos of ours and of the naive server move every byte, take time and memory, and are laid side by side."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'common'}{os.pathsep}{ROOT}"}
    command = [
        sys.executable,
        "-m",
        "benchmarks.rounds",
        "--smoke",
        "--peers",
        "ours,naive",
        "--out",
        str(tmp_path / "out"),
    ]

    command += ["--place", str(tmp_path / "place")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    (sweep,) = json.loads((tmp_path / "out" / "results.json").read_text())["sweeps"]
    assert ["ours", "naive"] == [system["system"] for system in sweep["systems"]]
    for system in sweep["systems"]:
        assert 2 == len(system["wall_seconds"])
        assert all(seconds > 0 for seconds in system["wall_seconds"])
        assert system["run_bytes"] >= 3 * 2 * 2 * system["payload_bytes"]  # three rounds, two silos, up and down
        assert system["first_seconds"] > 0
        assert system["server_cpu_seconds"] >= 0
        assert system["peak_mib"] >= system["idle_mib"] > 10
    ours, naive = sweep["systems"]
    assert 0 < ours["initial_seconds"] < ours["first_seconds"]
    assert math.isnan(naive["initial_seconds"])
    assert all(sweep["limits"][0][name] > 0 for name in ("loopback_up", "loopback_down", "sha256", "write", "combine"))
    assert {"results.json", "report.md", "wall.png", "server_cpu.png", "server_memory.png"} == {
        file.name for file in (tmp_path / "out").iterdir()
    }


def test_ratios_compare_neighbours() -> None:
    """A ratio is taken within each sweep, so a machine that was busy in one of them does not move it."""
    calm = Sweep([one("ours", wall=1.0), one("flower", wall=20.0)])
    busy = Sweep([one("ours", wall=10.0), one("flower", wall=200.0)])

    found = ratios([calm, busy], "flower", 8, of=lambda measured: measured.wall)

    assert (20.0, 20.0, 20.0) == (found.median, found.least, found.largest)
    assert (5.5, 1.0, 10.0) == dataclasses.astuple(walls([calm, busy], "ours", 8))


def test_a_run_that_failed_counts_nowhere() -> None:
    """What did not come to its end gives no ratio, and its bar is not said to hold."""
    broken = Measured("flower", 8, 80, False, problem="it hung")

    found = [bar.what for bar in bars([Sweep([one("ours", wall=1.0), broken])])]

    assert [] == [what for what in found if "Flower" in what]


def test_guard_fails_for_a_regression() -> None:
    """A server that takes as much memory as the naive one, or thrice its CPU, breaks a bound; today's does not."""
    naive = one("naive", wall=1.0, mib=1100.0)

    def held(ours: Measured) -> list[bool]:
        return [bar.holds for bar in bounds([Sweep([ours, naive])], 8)]

    assert [True, True, True, True] == held(one("ours", wall=1.0))
    assert [True, True, False, True] == held(one("ours", wall=1.0, mib=1100.0))
    assert [False, False, True, True] == held(one("ours", wall=3.1, cpu=3.0))


def test_growing_series_is_read_between_looks() -> None:
    """A number at an instant between two looks lies on the line between theirs; outside, it is the nearest one's."""
    samples = [Sample(at, {}, {}, 0) for at in (1.0, 2.0, 4.0)]

    read = [value_at(samples, [10.0, 20.0, 40.0], at=at) for at in (0.5, 1.5, 3.0, 9.0)]

    assert [10.0, 15.0, 30.0, 40.0] == read
