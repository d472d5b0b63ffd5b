"""The committed generated code is what the pinned generator makes of protos/."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "common" / "isthmus" / "v1"


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the generator writes now."""
    out = tmp_path_factory.mktemp("generated")
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I", "protos"]
        + [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        + protos,
        cwd=ROOT,
        check=True,
    )
    return out / "isthmus" / "v1"


def test_generated_files_are_those_of_the_protos(regenerated: Path) -> None:
    """No generated file is missing, and none is left over from a proto that is gone."""
    assert {path.name for path in regenerated.iterdir()} == {
        path.name for path in GENERATED.iterdir() if path.suffix in (".py", ".pyi") and path.name != "__init__.py"
    }


def test_generated_code_is_fresh(regenerated: Path) -> None:
    """Every generated file has the bytes that `make proto` would write."""
    stale = [
        path.name for path in sorted(regenerated.iterdir()) if path.read_bytes() != (GENERATED / path.name).read_bytes()
    ]

    assert stale == [], "run `make proto` and commit what it writes"
