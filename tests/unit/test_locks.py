"""requirements/ is what is installed, whole, hashed, and the only way in."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.supply.lock import split_cuda, with_other_builds
from deploy.supply.locks import CUDA, FOLDER, Pin, load_lock, read_pins
from deploy.supply.wanted import wanted

ROOT = Path(__file__).parents[2]
WANTED = wanted(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
LOCKS = sorted(file.stem for file in FOLDER.glob("*.lock"))
OURS = {"isthmus", "pip"}
"""Our own package, which is not installed from an index, and what installs."""


def installed() -> dict[str, Version]:
    """Everything in this environment but ours, without the label of the build (torch 2.13.0+cpu is 2.13.0)."""
    found = {canonicalize_name(d.metadata["Name"]): Version(d.version) for d in importlib.metadata.distributions()}
    return {name: Version(version.public) for name, version in found.items() if name not in OURS}


def pinned(lock: str) -> dict[str, Version]:
    """What a lock wants in this environment."""
    return {pin.name: Version(pin.version) for pin in load_lock(lock) if pin.is_wanted_here}


def test_lock_is_what_is_installed() -> None:
    """What the development lock wants here is installed in that version, and nothing is that no lock names."""
    present, allowed = installed(), {name: v for lock in LOCKS for name, v in pinned(lock).items()}

    assert {name: v for name, v in pinned("dev").items() if present.get(name) != v} == {}, "run make clean, make setup"
    assert {name: v for name, v in present.items() if allowed.get(name) != v} == {}, "run make clean, make setup"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes(lock: str) -> None:
    """Every line of a lock that names a package is an exact version with at least one SHA-256."""
    text = (FOLDER / f"{lock}.lock").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]

    assert [pin.name for pin in load_lock(lock) if not pin.hashes] == []
    assert len(load_lock(lock)) == len(entries) > 0


def test_every_environment_has_a_lock() -> None:
    """Every extra and dependency group has a lock, and every lock is one's (or torch's CUDA build's)."""
    assert sorted([*WANTED, CUDA]) == LOCKS


@pytest.mark.parametrize("lock", sorted(WANTED))
def test_lock_holds_what_is_asked(lock: str) -> None:
    """Every requirement of pyproject.toml is met by the lock's version: who changes one runs `make lock`."""
    versions = {pin.name: pin.version for pin in load_lock(lock)}
    asked = [Requirement(line) for line in WANTED[lock]]

    unmet = [str(a) for a in asked if versions.get(canonicalize_name(a.name), "0.dev0") not in a.specifier]
    assert unmet == []


def test_one_version_in_all_locks() -> None:
    """A package has one version, and the same hashes, in whichever locks it is."""
    seen = {(pin.name, pin.version, pin.hashes) for lock in LOCKS for pin in load_lock(lock)}

    assert len(seen) == len({name for name, _, _ in seen})


def test_gigabytes_have_a_lock_of_their_own() -> None:
    """What only the CUDA build of torch needs is in no lock but its own, and the aggregator's has no torch either."""
    cuda = {pin.name for pin in load_lock(CUDA)}

    assert {lock for lock in LOCKS if lock != CUDA and cuda & {pin.name for pin in load_lock(lock)}} == set()
    assert "torch" not in {pin.name for pin in load_lock("aggregator")}


def test_other_builds_are_of_locked_versions() -> None:
    """A build that lies elsewhere than at the index is let in by its hash, and only for the version that is locked."""
    locked = {(pin.name, pin.version): pin.hashes for pin in load_lock("dev")}
    others = read_pins((FOLDER / "other-builds.txt").read_text(encoding="utf-8"))

    assert all(set(other.hashes) < set(locked[other.name, other.version]) for other in others)


def test_locks_are_split_and_completed() -> None:
    """CUDA's packages move to their lock, and another build's hash goes to its own version alone."""
    torch, triton = Pin("torch", "2.0", "", ("a",)), Pin("triton", "3.0", "", ("b",))

    assert split_cuda({"silo": [torch, triton]}) == {"silo": [torch], CUDA: [triton]}
    assert with_other_builds([torch], [Pin("torch", "2.0", "", ("c",))]) == [Pin("torch", "2.0", "", ("a", "c"))]
    assert with_other_builds([torch], [Pin("torch", "1.0", "", ("c",))]) == [torch]


@pytest.mark.parametrize("file", ["deploy/aggregator.Dockerfile", "deploy/silo.Dockerfile", ".ci/setup"])
def test_nothing_else_is_installed(file: str) -> None:
    """Images and environments are filled from the locks alone: every other pip command may ask no index."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"pip(?:\S*/pip)? (?:install|wheel|download)[^\n&;]*", text)

    assert commands
    assert "requirements/install" in text
    assert [command for command in commands if not {"--no-index", "--no-deps"} <= set(command.split())] == []


@pytest.mark.parametrize(
    ("hashed", "told"), [(True, "DO NOT MATCH"), (False, "Hashes are required")], ids=["another file", "no hash"]
)
def test_install_refuses_what_no_lock_names(tmp_path: Path, hashed: bool, told: str) -> None:
    """A wheel of the right name and version, but of other bytes than the lock says, is not installed."""
    (tmp_path / "install").write_bytes((FOLDER / "install").read_bytes())
    digest = f" --hash=sha256:{'0' * 64}" if hashed else ""
    (tmp_path / "dev.lock").write_text(f"harmless==1.0{digest}\n")
    wheel = tmp_path / "wheels" / "harmless-1.0-py3-none-any.whl"
    write_wheel(wheel)

    done = subprocess.run(
        ["sh", tmp_path / "install", sys.executable, "dev"],
        env={
            "PATH": "/usr/bin:/bin",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheel.parent),
            "PIP_TARGET": str(tmp_path / "in"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode != 0
    assert told in done.stderr
    assert not (tmp_path / "in").exists()


def write_wheel(file: Path) -> None:
    """A wheel of nothing, named harmless 1.0."""
    file.parent.mkdir()
    info = "harmless-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
