"""requirements/ is what is installed, whole, hashed, and the only way in."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.supply.lock import split_cuda, with_other_builds
from deploy.supply.locks import APART, CUDA, FOLDER, Pin, load_lock, read_pins
from deploy.supply.wanted import wanted

ROOT = Path(__file__).parents[2]
WANTED = wanted(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
LOCKS = sorted(file.stem for file in FOLDER.glob("*.lock"))
TOGETHER = [lock for lock in LOCKS if lock not in APART]
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
    present, allowed = installed(), {name: v for lock in TOGETHER for name, v in pinned(lock).items()}

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
    """A package has one version, and the same hashes, in whichever locks it is that are not apart."""
    seen = {(pin.name, pin.version, pin.hashes) for lock in TOGETHER for pin in load_lock(lock)}

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
