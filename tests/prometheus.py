"""A real Prometheus for tests, where there is one; got from Debian's package otherwise, and nothing is installed.

    python -m tests.prometheus [pytest's arguments]

Looks for `promtool` and `prometheus` on the PATH; else downloads the package with `apt-get download` and unpacks it
into .cache/prometheus of this tree. Then runs the tests that can use them. The exit code is pytest's; 2: none was got.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNPACKED = ROOT / ".cache" / "prometheus"
TESTS = ("tests/unit/test_monitoring.py", "tests/integration/test_prometheus.py")


@dataclass(frozen=True)
class Programs:
    """Prometheus's two programs."""

    prometheus: Path
    promtool: Path


def find_programs() -> Programs | None:
    """The programs on the PATH, or those that were unpacked here; None where there are none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(UNPACKED / "usr" / "bin")])
    found = [shutil.which(name, path=path) for name in ("prometheus", "promtool")]
    return Programs(*(Path(one) for one in found if one)) if all(found) else None


def get_programs() -> Programs | None:
    """The same; gets the package where they are not there yet."""
    if (found := find_programs()) or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return found
    with tempfile.TemporaryDirectory(prefix="isthmus-prometheus-") as folder:
        subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=False)
        for package in Path(folder).glob("prometheus_*.deb"):
            UNPACKED.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg-deb", "-x", str(package), str(UNPACKED)], check=True)
    return find_programs()


def main(arguments: Sequence[str]) -> int:
    """Runs the tests with the programs."""
    if get_programs() is None:
        sys.stderr.write("watch-test: there is no prometheus on the PATH, and apt-get could not download it.\n")
        return 2
    command = [sys.executable, "-m", "pytest", "-q", *(arguments or TESTS)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
