"""The demo's child processes: watched while they live, ended with their context, mourned with their last words."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from deploy.demo import federate, processes
from deploy.demo.processes import ChildFailed, Children


def child_that(folder: Path, code: str) -> list[str]:
    """Arguments of a module that runs this code."""
    (folder / "child.py").write_text(code)
    return ["child"]


def test_children_end_with_their_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that would run for ever is gone afterwards, also one that ignores a polite request."""
    monkeypatch.setattr(processes, "END_SECONDS", 0.5)
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
    )
    with Children(tmp_path / "logs", root=tmp_path) as children:
        pid = children.start("stubborn", child_that(tmp_path, code)).pid
        assert children.read_line("stubborn") == "up\n"

    assert not psutil.pid_exists(pid)


def test_children_end_when_the_demo_fails(tmp_path: Path) -> None:
    """An error in the demo ends the children before it goes on its way."""

    def fail() -> None:
        with Children(tmp_path / "logs", root=tmp_path) as children:
            pids.append(children.start("sleeper", child_that(tmp_path, "import time; time.sleep(600)")).pid)
            raise ValueError("something else")

    pids: list[int] = []
    with pytest.raises(ValueError, match="something else"):
        fail()
    assert not psutil.pid_exists(pids[0])


def test_signal_while_a_child_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that arrives when a child runs but is not yet known ends the demo and that child."""
    pids: list[int] = []
    start = subprocess.Popen

    def interrupted(*arguments: object, **options: object) -> object:
        child = start(*arguments, **options)  # type: ignore[call-overload]
        pids.append(child.pid)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt), Children(tmp_path / "logs", root=tmp_path) as children:
        children.start("sleeper", child_that(tmp_path, "import time; time.sleep(600)"))

    assert not psutil.pid_exists(pids[0])


@pytest.mark.parametrize(
    ("last_words", "told"),
    [
        ("the disk is full", "the disk is full"),
        ('{"event": "agent.stopped", "words": "the data folder is gone"}', "the data folder is gone"),
    ],
    ids=["plain", "structured"],
)
def test_failure_is_told_with_the_last_words(tmp_path: Path, last_words: str, told: str) -> None:
    """A command that fails is told with its name, its code, what it said last, and where the whole log is."""
    code = f"import sys\nprint('before', file=sys.stderr)\nprint({last_words!r}, file=sys.stderr)\nsys.exit(3)"
    with Children(tmp_path / "logs", root=tmp_path) as children, pytest.raises(ChildFailed) as caught:
        children.run("command", child_that(tmp_path, code))

    assert str(caught.value).startswith(f"command ended with code 3: {told}")
    assert str(tmp_path / "logs" / "command.log") in str(caught.value)


def test_ended_child_is_noticed(tmp_path: Path) -> None:
    """A child that has ended is known to have, and its end can be told as the demo's failure."""
    with Children(tmp_path / "logs", root=tmp_path) as children:
        child = child_that(tmp_path, "import sys, time\nsys.exit(7) if sys.argv[1:] else time.sleep(600)")
        children.start("good", child)
        children.start("bad", [*child, "now"]).wait()

        assert [children.has_ended(name) for name in ("good", "bad")] == [False, True]
        assert "bad ended with code 7: it said nothing" in str(children.mourn("bad"))


def test_nothing_is_started_once_the_context_is_over(tmp_path: Path) -> None:
    """A thread that is late starts no child that nobody would end."""
    with Children(tmp_path / "logs", root=tmp_path) as children:
        pass
    with pytest.raises(ChildFailed, match="late was not started"):
        children.start("late", child_that(tmp_path, ""))


def test_stopped_silo_is_no_finished_one(tmp_path: Path) -> None:
    """A silo's agent that was stopped from outside ends with code 0, and the demo still takes it for a failure."""
    status = tmp_path / "silos" / "food" / "state" / "status.json"
    status.parent.mkdir(parents=True)
    with Children(tmp_path / "logs", root=tmp_path) as children:
        children.start("silo-food", child_that(tmp_path, "")).wait()

        status.write_text('{"phase": "finished"}')
        assert federate.is_done(tmp_path, "food", children=children)
        status.write_text('{"phase": "stopped"}')
        with pytest.raises(ChildFailed, match="silo-food ended with code 0"):
            federate.is_done(tmp_path, "food", children=children)


def test_memory_is_watched(tmp_path: Path) -> None:
    """The peak of a child's memory is known while it runs: at least what it holds."""
    code = "block = bytearray(b'1') * (50 << 20)\nprint('held', flush=True)\nimport time; time.sleep(600)"
    with Children(tmp_path / "logs", root=tmp_path) as children:
        children.start("holder", child_that(tmp_path, code))
        children.read_line("holder")
        deadline = time.monotonic() + 30
        while children.peak_rss_bytes.get("holder", 0) < 50 << 20 and time.monotonic() < deadline:
            time.sleep(0.05)

        assert children.peak_rss_bytes["holder"] > 50 << 20
