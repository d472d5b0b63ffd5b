"""The demo as a whole: real aggregator, real agents, real report; only models and pictures are tiny."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a dozen processes that load torch share the test's cores


def start_demo(folder: Path) -> subprocess.Popen[str]:
    """The tiny demo as a process of its own."""
    path = os.pathsep.join([str(ROOT / "common"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.tiny_demo", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


def running_in(folder: Path) -> list[str]:
    """Command lines of processes that were told of this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def test_demo_federates_and_reports(tmp_path: Path) -> None:
    """The demo ends well, and its report holds every number that it promises, consistent with each other."""
    demo = start_demo(tmp_path)
    said, _ = demo.communicate()

    assert demo.returncode == 0, said
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert len(report["federated"]["loss_by_round"]) == 3
    assert sorted(report["alone"]) == ["animals", "food"]
    assert report["alone"]["food"]["loss_by_round"][0] == report["federated"]["loss_by_round"][0]
    assert report["pooled"]["loss"] == report["pooled"]["loss_by_round"][-1]
    assert report["retrieval"]["chance"]["top1"] == pytest.approx(1 / 3)
    assert 0.0 <= report["retrieval"]["federated"]["top1"] <= 1.0
    assert report["seconds"] > 0.0
    lasting = {"aggregator", "silo-animals", "silo-food", "worker-1", "worker-2", "demo"}
    assert {name for name, peak in report["peak_rss_bytes"].items() if peak > 1 << 20} == lasting
    assert [row["trained_by"] for row in report["matrix"]["rows"]] == [
        "untrained",
        "animals",
        "food",
        "federation",
        "pooled",
    ]
    check_lineage(report)
    payload = (1280 * 16 + 16 + 16 * 32 + 32) * 4
    for traffic in report["traffic"].values():
        assert traffic["bytes_up"] > 2 * payload
        assert traffic["bytes_down"] > 2 * payload
    page = (tmp_path / "report" / "report.html").read_text()
    assert all(digest[:12] in page for digest in (row["digest"] for row in report["lineage"]))
    assert running_in(tmp_path) == []


def check_lineage(report: dict[str, Any]) -> None:
    """Each global projector names the one before it, both silos made each, and those who pulled it judge it."""
    lineage = report["lineage"]
    assert [row["number"] for row in lineage] == [0, 1, 2]
    assert [row["parent_digest"] for row in lineage[1:]] == [row["digest"] for row in lineage[:-1]]
    assert all(row["silos"] == ["animals", "food"] and row["num_examples"] == 8 for row in lineage[1:])
    assert [row["told"] and row["told"]["num_pictures"] for row in lineage] == [2, 2, None]  # one at each silo


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_stopped_demo_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    """However the demo is stopped, it says so, exits with 130, and takes all its processes along."""
    demo = start_demo(tmp_path)
    while demo.poll() is None and not any("silo_agent" in line for line in running_in(tmp_path)):
        time.sleep(0.1)
    demo.send_signal(number)
    said, _ = demo.communicate()

    assert demo.returncode == 130, said
    assert said.splitlines()[-1] == "demo: stopped; nothing of it is running any more."
    assert running_in(tmp_path) == []


def test_silo_that_dies_ends_the_demo(tmp_path: Path) -> None:
    """When a silo's process dies, the demo says which one and where its log is, exits with 1 and leaves nothing."""
    demo = start_demo(tmp_path)
    victims: list[psutil.Process] = []
    while demo.poll() is None and not victims:
        victims = [
            one
            for one in psutil.process_iter(["cmdline"])
            if is_agent(one, tmp_path / "report" / "work" / "silos" / "food")
        ]
        time.sleep(0.1)
    victims[0].kill()
    said, _ = demo.communicate()

    assert demo.returncode == 1, said
    assert "demo: silo-food ended with code -9" in said
    assert str(tmp_path / "report" / "work" / "logs" / "silo-food.log") in said
    assert running_in(tmp_path) == []


def is_agent(process: psutil.Process, home: Path) -> bool:
    """Whether this is the agent of the silo at home there."""
    line = process.info["cmdline"] or []
    return "silo_agent" in line and str(home / "silo.toml") in line
