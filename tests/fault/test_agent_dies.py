"""SIGKILL at every line: no round is trained twice once its delta is in the outbox, and no delta is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from silo_agent.agent import Agent
from tests.fake_hub import FakeHub, FakeTrainer, silo_parts, status_in
from tests.plans import plan_with

ROOT = Path(__file__).parents[2]
WATCHED = ("silo_agent/agent.py", "silo_agent/outbox.py", "silo_agent/durable.py")


@pytest.mark.slow
def test_death_at_any_line_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed at every single line of the loop and of the outbox in turn, and started again, the agent ends the same.

    Every round is counted once with the bytes and the cursor of a run that nothing disturbed, and a delta that was in
    the outbox at the death is not trained again.
    """
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'common'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )

    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert report["problems"] == []
    assert report["num_deaths"] > 150
    assert report["num_deaths_with_entry"] > 20


def _run_agent(folder: Path) -> None:
    """Runs the agent to the end of a federation of one round."""
    folder.mkdir(parents=True, exist_ok=True)
    hub, trainer, outbox = silo_parts(folder, num_rounds=1)
    hub.plan = plan_with(one_pass=True)
    Agent(hub, trainer, outbox, status_in(folder)).run()


def _dies_at(line: int, folder: Path) -> bool:
    """Whether the agent, killed at this line of its own code in a process of its own, came so far."""
    child = os.fork()
    if child == 0:
        _die_at(line)
        _run_agent(folder)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _die_at(line: int) -> None:
    """From now on, the process kills itself when that many watched lines have begun."""
    begun = 0

    def at_each_event(frame: FrameType, event: str, argument: object) -> object:
        nonlocal begun
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        begun += event == "line"
        if begun == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return at_each_event

    sys.settrace(at_each_event)


def _outcome(folder: Path) -> dict[str, object]:
    """What the federation and the silo hold in the end."""
    cursor = json.loads((folder / "outbox" / "cursor.json").read_text())
    left = sorted(file.name for file in (folder / "outbox").iterdir())
    return {"receipts": FakeHub(folder / "hub").receipts, "cursor": cursor, "left": left}


def _main(folder: Path) -> None:
    """Kills the agent at line 1, 2, 3, ... until it survives; prints what was found."""
    _run_agent(folder / "undisturbed")
    expected = _outcome(folder / "undisturbed")
    problems: list[str] = []
    with_entry, line = 0, 1
    while _dies_at(line, here := folder / str(line)):
        trainer = FakeTrainer(here / "trained.txt")
        kept = [int(file.stem) for file in (here / "outbox").glob("[0-9]*.json")]
        before = [trainer.trained.count(number) for number in kept]
        with_entry += bool(kept)
        _run_agent(here)
        if _outcome(here) != expected:
            problems.append(f"line {line}: {_outcome(here)} instead of {expected}")
        if [trainer.trained.count(number) for number in kept] != before:
            problems.append(f"line {line}: trained again although its delta was kept: {trainer.trained}")
        line += 1
    sys.stdout.write(json.dumps({"problems": problems, "num_deaths": line - 1, "num_deaths_with_entry": with_entry}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
