""".ci/setup says in words what a machine lacks, and leaves nothing half-made."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_that(folder: Path, *, is_old: bool = False, lacks_venv: bool = False) -> Path:
    """A stand-in for a machine's Python that answers the questions of .ci/setup like this."""
    script = folder / "python3.9"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "    --version) echo Python 3.9.2 ;;\n"
        f"    *version_info*) exit {int(is_old)} ;;\n"
        f"    *ensurepip*) exit {int(lacks_venv)} ;;\n"
        "esac\n"
    )
    script.chmod(0o755)
    return script


def set_up(venv: Path, *, python: str) -> subprocess.CompletedProcess[str]:
    """Runs .ci/setup for a new environment with this Python alone."""
    return subprocess.run(
        [ROOT / ".ci" / "setup", venv],
        env={"PATH": "/usr/bin:/bin", "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_old_python_is_told(tmp_path: Path) -> None:
    """A Python that is too old is named with its version, and with what to do."""
    result = set_up(tmp_path / "venv", python=str(python_that(tmp_path, is_old=True)))

    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr
    assert "is Python 3.9.2" in result.stderr


def test_python_without_venv_is_told(tmp_path: Path) -> None:
    """A Python that cannot make virtual environments is named, and with what to install."""
    result = set_up(tmp_path / "venv", python=str(python_that(tmp_path, lacks_venv=True)))

    assert result.returncode == 1
    assert "its venv or ensurepip module is missing" in result.stderr


def test_missing_python_is_told(tmp_path: Path) -> None:
    """A Python that is not there is told, and nothing is left behind."""
    result = set_up(tmp_path / "venv", python=str(tmp_path / "no-python"))

    assert (result.returncode, (tmp_path / "venv").exists()) == (1, False)
    assert "none of them runs" in result.stderr
