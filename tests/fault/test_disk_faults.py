"""Real file systems that are full, read-only or closed to us."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command with the tree on Python's path."""
    path = os.pathsep.join([str(ROOT / "common"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment, check=False)


def on_small_disk(trouble: str, folder: Path) -> dict[str, str]:
    """What became of each thing tried on a file system of 1 MiB of our own; skips where we may not mount one."""
    mount = f"mount -t tmpfs -o size=1m none {folder}"
    if run([*NAMESPACE, "sh", "-c", mount]).returncode != 0:
        pytest.skip("this machine lets us mount no file system of our own")
    told = run([*NAMESPACE, "sh", "-c", f"{mount} && exec {sys.executable} -m tests.fault.disks {trouble} {folder}"])
    assert (told.returncode, told.stderr) == (0, "")
    return dict(line.split(": ", 1) for line in told.stdout.splitlines())


def test_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """On a full disk puts fail saying so, what was there stays, nothing half-written is left, and room mends it."""
    told = on_small_disk("full", tmp_path)

    assert ("True", "(True, ['a/small'])", "True") == (told["small"], told["kept"], told["again"])
    assert all(told[verb].startswith("StoreFull") for verb in ("large", "overwrite"))
    assert all("disk is full" in told[verb] for verb in ("large", "overwrite"))


def test_readonly_disk_is_told_and_still_read(tmp_path: Path) -> None:
    """On a disk that turned read-only reading goes on and every change fails saying so."""
    told = on_small_disk("readonly", tmp_path)

    assert ("True", "b'content'") == (told["before"], told["get"])
    assert all("mount it read-write" in told[verb] for verb in ("create", "put", "delete", "open"))


def test_denied_folder_is_told(tmp_path: Path) -> None:
    """A folder that the aggregator's user may not use is told as that, at the start and later."""
    shared = tmp_path / "shared"
    shared.mkdir()
    result = run([sys.executable, "-m", "tests.fault.disks", "denied", str(shared)])
    told = dict(line.split(": ", 1) for line in result.stdout.splitlines())

    assert (result.returncode, result.stderr) == (0, "")
    assert {"create", "open", "open another"} == {verb for verb, text in told.items() if "rights" in text}
