"""The demo's child processes: watched while they live, ended with their context, mourned with their last words."""

import time
from pathlib import Path

import psutil
import pytest

from deploy.demo import processes
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
    """A child that dies while it is needed is a failure; one that ended well is none."""
    with Children(tmp_path / "logs", root=tmp_path) as children:
        children.start("good", child_that(tmp_path, "")).wait()
        children.require_alive(["good"])
        assert children.ended_well("good")
        children.start("bad", child_that(tmp_path, "raise SystemExit(7)")).wait()
        with pytest.raises(ChildFailed, match="bad ended with code 7: it said nothing"):
            children.require_alive(["good", "bad"])


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
