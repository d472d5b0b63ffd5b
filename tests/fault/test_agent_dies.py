"""SIGKILL at every line: no round is trained twice once its delta is in the outbox, and no delta is lost."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from isthmus.contribution import Encoding
from isthmus.errors import RoundClosed
from isthmus.feedback import ErrorFeedback
from silo_agent.agent import Agent
from tests.fake_hub import FakeHub, FakeTrainer, budget_in, silo_parts, status_in
from tests.plans import plan_with

ROOT = Path(__file__).parents[2]
WATCHED = ("silo_agent/agent.py", "silo_agent/outbox.py", "isthmus/feedback.py", "isthmus/durable.py")


@pytest.mark.slow
def test_death_at_any_line_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed at every single line of the loop and of the outbox in turn, and started again, the agent ends the same.

    Every round is counted once with the bytes and the cursor of a run that nothing disturbed, and a delta that was in
    the outbox at the death is not trained again. In int8, whose rounding is fed back: what was lost of the first delta
    is in the second one once, and what is kept in the end is what was lost of both.
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
    assert report["num_deaths_aside"] > 10
    assert report["num_deaths_feeding_back"] > 60


def _run_agent(folder: Path, *, too_late: bool = False, over: bool = False, num_rounds: int = 1) -> None:
    """Runs the agent to the end of a federation of one round, or of more in int8.

    Args:
        folder: Of everything.
        too_late: The first delta is told that it is.
        over: Nothing is left to be trained.
        num_rounds: Of the federation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hub, trainer, outbox = silo_parts(folder, num_rounds=num_rounds)
    hub.encoding = Encoding.INT8 if num_rounds > 1 else Encoding.FP32
    hub.plan = plan_with(one_pass=True)
    hub.skipped_rounds = int(over)
    if too_late:
        hub.faults = [("push_payload", RoundClosed("Round 1 was cut."))]
    feedback = ErrorFeedback(folder / "feedback")
    Agent(hub, trainer, outbox, feedback, status_in(folder), budget_in(folder)).run()


def _dies_at(line: int, folder: Path, *, after: str = "", **run: Any) -> bool:
    """Whether the agent, killed at this line of its own code in a process of its own, came so far."""
    child = os.fork()
    if child == 0:
        _die_at(line, after=after)
        _run_agent(folder, **run)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _die_at(line: int, *, after: str) -> None:
    """The process kills itself when that many watched lines have begun, counted from the call of `after`, if any."""
    begun = 0
    counting = not after

    def at_each_event(frame: FrameType, event: str, argument: object) -> object:
        nonlocal begun, counting
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        counting = counting or frame.f_code.co_name == after
        begun += counting and event == "line"
        if begun == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return at_each_event

    sys.settrace(at_each_event)


def _outcome(folder: Path) -> dict[str, object]:
    """What the federation and the silo hold in the end."""
    cursor = json.loads((folder / "outbox" / "cursor.json").read_text())
    left = sorted(file.name for file in (folder / "outbox").rglob("*"))
    lost = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / "feedback").glob("*")}
    return {"receipts": FakeHub(folder / "hub").receipts, "cursor": cursor, "left": left, "lost": lost}


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
    aside = _die_while_setting_aside(folder / "late", problems)
    fed_back = _die_while_feeding_back(folder / "int8", problems)
    counts = {
        "num_deaths": line - 1,
        "num_deaths_with_entry": with_entry,
        "num_deaths_aside": aside,
        "num_deaths_feeding_back": fed_back,
    }
    sys.stdout.write(json.dumps({"problems": problems, **counts}))


def _die_while_setting_aside(folder: Path, problems: list[str]) -> int:
    """Kills the agent at every line after a delta came too late; how often. Its bytes are counted or kept."""
    line = 1
    while _dies_at(line, here := folder / str(line), after="set_aside", too_late=True):
        made = {path.name for path in (here / "outbox").rglob("*.safetensors")}
        _run_agent(here, over=True)
        counted = [str(receipt["digest"]) for receipt in FakeHub(here / "hub").receipts.values()]
        whole = {path.name for path in (here / "outbox" / "late").glob("*.safetensors") if _has_header(path)}
        whole |= {f"{number}-{digest[:16]}.safetensors" for number, digest in enumerate(counted, start=1)}
        if not made <= whole or len(made) != 1 or list((here / "outbox").glob("[0-9]*")):
            problems.append(f"set aside, line {line}: {made} became {whole}")
        line += 1
    return line - 1


def _die_while_feeding_back(folder: Path, problems: list[str]) -> int:
    """Kills the agent at every third line from where the first of two int8 deltas is counted; how often."""
    _run_agent(folder / "undisturbed", num_rounds=2)
    expected = _outcome(folder / "undisturbed")
    if list(expected["lost"]) != ["lost.safetensors"]:  # type: ignore[call-overload]
        problems.append(f"nothing was fed back: {expected}")
    line = 1
    while _dies_at(line, here := folder / str(line), after="settle", num_rounds=2):
        _run_agent(here, num_rounds=2)
        if _outcome(here) != expected:
            problems.append(f"int8, line {line}: {_outcome(here)} instead of {expected}")
        line += 3
    return line // 3


def _has_header(payload: Path) -> bool:
    document = json.loads(payload.with_suffix(".json").read_text())
    return document["payload_digest"] == hashlib.sha256(payload.read_bytes()).hexdigest()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
