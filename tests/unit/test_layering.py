"""Who may import whom, beyond what import-linter's contracts in pyproject.toml say: what is loaded at run time."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

AGGREGATOR_EXTRAS = ["grpc_health", "grpc_reflection", "obstore", "prometheus_client"]
SILO_EXTRAS = ["datasets", "gguf", "PIL", "transformers"]
TRACES_EXTRAS = ["opentelemetry"]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter that sees the tree as an installed project would."""
    path = f"import sys; sys.path[:0] = [{str(ROOT / 'common')!r}, {str(ROOT)!r}]\n"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", path + code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )


def modules_under(folder: Path, package: str) -> list[str]:
    """Every importable module of a package, its entry points left out: importing those runs them."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        found.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return found


def import_without(modules: list[str], blocked: list[str]) -> subprocess.CompletedProcess[str]:
    """Imports the modules where the blocked ones cannot be found."""
    return run_python(
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"import importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    )


@pytest.mark.slow
def test_sdk_imports_without_the_extras() -> None:
    """Every module of isthmus imports where neither the aggregator's nor the silo agent's extras are installed."""
    modules = modules_under(ROOT / "common" / "isthmus", "isthmus")
    modules.remove("isthmus.exporting")  # loaded where an endpoint is named, and nowhere else
    blocked = {*AGGREGATOR_EXTRAS, *SILO_EXTRAS, *TRACES_EXTRAS, "aggregator", "silo_agent"}

    result = import_without(modules, sorted(blocked))

    assert (result.returncode, result.stderr) == (0, "")


def test_aggregator_runs_without_torch_and_transformers() -> None:
    """Every module of the aggregator imports where torch, transformers and the silo agent are not there."""
    modules = modules_under(ROOT / "aggregator", "aggregator")

    result = import_without(modules, ["torch", "transformers", "datasets", "silo_agent", *TRACES_EXTRAS])

    assert (result.returncode, result.stderr) == (0, "")


def test_aggregator_runs_without_ray() -> None:
    """Every module of the aggregator, a cluster's driver too, imports where Ray is not there."""
    modules = modules_under(ROOT / "aggregator", "aggregator")

    result = import_without(modules, ["ray"])

    assert (result.returncode, result.stderr) == (0, "")


def test_driver_alone_names_ray() -> None:
    """No other module of the three packages imports ray, not even late."""
    named = set()
    for file in (file for folder in ("aggregator", "common", "silo_agent") for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named |= {file.relative_to(ROOT).as_posix() for name in names if name.partition(".")[0] == "ray"}

    assert named == {"aggregator/sharding/driver.py"}


def test_agent_names_nothing_of_the_aggregator() -> None:
    """No module of the silo agent imports the aggregator or what only its extra installs."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "silo_agent").rglob("*.py"))
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in imported} & {
        "aggregator",
        "obstore",
        "grpc_health",
        "grpc_reflection",
        "prometheus_client",
    } == set()


def test_importing_the_sdk_loads_no_vlm_library() -> None:
    """`import isthmus` stays quick: transformers and datasets are loaded only by what needs them."""
    result = run_python(
        "import isthmus\nprint([m for m in ('transformers', 'datasets', 'aggregator') if m in sys.modules])"
    )

    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_wheel_holds_every_package() -> None:
    """Every package folder of the three import roots is listed in pyproject.toml, so that a wheel holds it."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    roots = {
        "isthmus": ROOT / "common" / "isthmus",
        "aggregator": ROOT / "aggregator",
        "silo_agent": ROOT / "silo_agent",
    }

    present = {
        ".".join([package, *init.parent.relative_to(folder).parts])
        for package, folder in roots.items()
        for init in folder.rglob("__init__.py")
    }

    assert present == listed
