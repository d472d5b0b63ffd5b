"""Writes requirements/*.lock anew, after pyproject.toml: python -m deploy.supply.lock [uv's arguments].

Every version that still fits stays as it is; `--upgrade-package NAME` or `--upgrade` moves on. uv resolves, for every
platform and Python at once, and the index says the hashes: nothing is downloaded or built, and no release is taken that
has been out for less than AGE, by when most of what is smuggled into an index was found and removed.
"""

import subprocess  # nosec B404  # judged at each call
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from deploy.supply.locks import APART, CUDA, FOLDER, Pin, load_lock, read_pins
from deploy.supply.wanted import wanted

AGE = "3 days"
OLDEST_PYTHON = "3.11"
CUDA_NAMES = ("nvidia-", "cuda-", "triton")
HEADER = "# Written by `make lock` after pyproject.toml: change that, not this.\n"


def main(arguments: Sequence[str]) -> int:
    """Writes the locks; those not `APART` are resolved together, so that a package has one version in all of them."""
    requirements = wanted(tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8")))
    other_builds = read_pins((FOLDER / "other-builds.txt").read_text(encoding="utf-8"))
    apart = {name: {name: requirements.pop(name)} for name in APART}
    locks = resolved(requirements, arguments, present_versions(set(requirements)))
    for name, alone in apart.items():
        locks |= resolved(alone, arguments, present_versions({name}))
    for name, pins in split_cuda(locks).items():
        write(name, with_other_builds(pins, other_builds))
    return 0


def resolved(requirements: Mapping[str, Sequence[str]], arguments: Sequence[str], present: str) -> dict[str, list[Pin]]:
    """What each lock holds, when all of these are resolved together.

    Args:
        requirements: Of each lock.
        arguments: For uv.
        present: Versions that stay where they still fit.
    """
    with tempfile.TemporaryDirectory(prefix="isthmus-lock-") as folder:
        versions = Path(folder) / "versions.txt"
        versions.write_text(present, encoding="utf-8")
        everything = [line for lines in requirements.values() for line in lines]
        resolve(everything, "--output-file", str(versions), *arguments)
        return {
            name: read_pins(resolve(lines, "--constraint", str(versions), "--generate-hashes"))
            for name, lines in requirements.items()
        }


def present_versions(locks: Set[str]) -> str:
    """What these locks, and the CUDA build's, pin now, as uv reads it; nothing where there are none."""
    files = [file for file in FOLDER.glob("*.lock") if file.stem in {*locks, CUDA}]
    pins = {pin.name: pin.version for file in files for pin in load_lock(file.stem)}
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))


def resolve(requirements: Iterable[str], *arguments: str) -> str:
    """What uv resolves these requirements to; it says itself why it cannot, and then this ends."""
    uv = Path(sys.executable).with_name("uv")
    asked = ("pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON, "--only-binary", ":all:")
    form = ("--exclude-newer", AGE, "--no-annotate", "--no-header", *arguments, "-")
    done = subprocess.run(  # nosec B603  # no shell; the arguments are our own
        [uv, *asked, *form], input="\n".join(requirements), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit("lock: uv says above what does not fit; the locks are as they were.")
    return done.stdout


def split_cuda(locks: dict[str, list[Pin]]) -> dict[str, list[Pin]]:
    """The same locks, and what only the CUDA build of torch needs in one of its own."""
    kept = {name: [pin for pin in pins if not pin.name.startswith(CUDA_NAMES)] for name, pins in locks.items()}
    cuda = {pin.name: pin for pins in locks.values() for pin in pins if pin.name.startswith(CUDA_NAMES)}
    return {**kept, CUDA: [cuda[name] for name in sorted(cuda)]}


def with_other_builds(pins: Iterable[Pin], other_builds: Iterable[Pin]) -> list[Pin]:
    """The entries, each with the hashes of builds of that version that lie elsewhere than at the index."""
    added = {(pin.name, pin.version): pin.hashes for pin in other_builds}
    return [replace(pin, hashes=(*pin.hashes, *added.get((pin.name, pin.version), ()))) for pin in pins]


def write(name: str, pins: Iterable[Pin]) -> None:
    """Writes requirements/NAME.lock."""
    (FOLDER / f"{name}.lock").write_text(HEADER + "".join(pin.text + "\n" for pin in pins), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
