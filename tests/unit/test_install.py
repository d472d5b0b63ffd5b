"""requirements/install takes what a lock names, byte for byte, as a wheel, and nothing else."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.supply.locks import FOLDER

OTHER = "0" * 64


class Offered:
    """Files that pip finds, a copy of the script beside a lock, and where it installs to."""

    def __init__(self, folder: Path) -> None:
        """An empty offer."""
        self.files, self.target, self._folder = folder / "files", folder / "target", folder
        self.files.mkdir()
        (folder / "install").write_bytes((FOLDER / "install").read_bytes())

    def wheel(self, name: str) -> str:
        """Offers a wheel of nothing; its SHA-256."""
        file, info = self.files / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def source(self, name: str) -> str:
        """Offers a source distribution; its SHA-256."""
        setup = self.files / "setup.py"
        setup.write_text(f"import setuptools\nsetuptools.setup(name={name!r}, version='1.0')\n")
        with tarfile.open(self.files / f"{name}-1.0.tar.gz", "w:gz") as archive:
            archive.add(setup, f"{name}-1.0/setup.py")
        return hashlib.sha256((self.files / f"{name}-1.0.tar.gz").read_bytes()).hexdigest()

    def install(self, *, torch: str = "", **locks: str) -> subprocess.CompletedProcess[str]:
        """Runs the script for `dev`, with these locks: a requirement each; `torch` is the build that is asked for."""
        for name, text in locks.items():
            (self._folder / {"dev": "dev.lock", "other": "other-builds.txt"}[name]).write_text(text + "\n")
        found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.files), "PIP_TARGET": str(self.target)}
        command = ["sh", self._folder / "install", sys.executable, "dev"]
        environment = {"PATH": "/usr/bin:/bin", "TORCH": torch, **found}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def offered(tmp_path: Path) -> Offered:
    """An empty offer."""
    return Offered(tmp_path)


def test_what_the_lock_names_is_installed(offered: Offered) -> None:
    """A wheel whose SHA-256 the lock has is installed, whatever folder it came from."""
    digest = offered.wheel("harmless")

    done = offered.install(dev=f"harmless==1.0 --hash=sha256:{OTHER} --hash=sha256:{digest}")

    assert (done.returncode, done.stderr) == (0, "")
    assert (offered.target / "harmless-1.0.dist-info").is_dir()


def test_other_bytes_are_refused(offered: Offered) -> None:
    """A wheel of the right name and version, but of other bytes than the lock says, is not installed."""
    offered.wheel("harmless")

    done = offered.install(dev=f"harmless==1.0 --hash=sha256:{OTHER}")

    assert (done.returncode != 0, offered.target.exists()) == (True, False)
    assert "DO NOT MATCH" in done.stderr


def test_what_has_no_hash_is_refused(offered: Offered) -> None:
    """A package that the lock names without a hash is not installed."""
    offered.wheel("harmless")

    done = offered.install(dev="harmless==1.0")

    assert (done.returncode != 0, offered.target.exists()) == (True, False)
    assert "Hashes are required" in done.stderr


def test_sources_are_refused(offered: Offered) -> None:
    """A source distribution, which would run code, is not taken even when the lock has its hash."""
    digest = offered.source("harmless")

    done = offered.install(dev=f"harmless==1.0 --hash=sha256:{digest}")

    assert (done.returncode != 0, offered.target.exists()) == (True, False)
    assert "No matching distribution found for harmless" in done.stderr


def test_another_build_of_other_bytes_is_refused(offered: Offered) -> None:
    """A build of torch in a folder that is not the lock's ends the installation, and is not passed over in silence."""
    offered.wheel("torch")

    done = offered.install(dev=f"torch==1.0 --hash=sha256:{OTHER}", other=f"torch==1.0 --hash=sha256:{OTHER}")

    assert (done.returncode != 0, offered.target.exists()) == (True, False)
    assert done.stderr.count("DO NOT MATCH") == 1


def test_cpu_build_or_nothing(offered: Offered) -> None:
    """With TORCH=cpu nothing is installed where no CPU build is offered, and the message says what to do."""
    locks = {"dev": f"torch==1.0 --hash=sha256:{offered.wheel('torch')}", "other": f"torch==2.0 --hash=sha256:{OTHER}"}

    refused = offered.install(torch="cpu", **locks)

    assert (refused.returncode, offered.target.exists()) == (1, False)
    assert "finds no CPU build of torch==2.0" in refused.stderr
    assert "PIP_FIND_LINKS" in refused.stderr


def test_cuda_build_is_the_index_s(offered: Offered) -> None:
    """With TORCH=cuda the lock's build is taken, whatever other builds are offered."""
    dev, other = f"torch==1.0 --hash=sha256:{offered.wheel('torch')}", f"torch==1.0 --hash=sha256:{OTHER}"

    assert offered.install(torch="any", dev=dev, other=other).returncode != 0
    assert offered.install(torch="cuda", dev=dev, other=other).returncode == 0


def test_unknown_build_is_refused(offered: Offered) -> None:
    """A build that nobody knows is refused by name, and nothing is installed."""
    done = offered.install(torch="gpu", dev=f"harmless==1.0 --hash=sha256:{offered.wheel('harmless')}")

    assert (done.returncode, offered.target.exists()) == (2, False)
    assert "TORCH is 'gpu'" in done.stderr
