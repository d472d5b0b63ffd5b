"""The command line's verbs that work on the store: their options, and what they say without the aggregator."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from isthmus.cli import VERBS, main
from isthmus.cli.store import COMMANDS
from tests.real_aggregator import ENVIRONMENT


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_is_a_verb_that_exists(verb: str) -> None:
    """What the table names can be imported and called, and `isthmus` has a verb of that name."""
    module, _, function = COMMANDS[verb].partition(":")

    assert verb in VERBS
    assert callable(getattr(import_module(module), function))


WITHOUT = """
import sys

class Gone:
    def find_spec(name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Gone)
from isthmus.cli import main
sys.exit(main(["verify", "harbour", "--store", {store!r}]))
"""


@pytest.mark.parametrize("missing", ["aggregator", "obstore"])
def test_without_the_aggregators_packages(missing: str, tmp_path: Path) -> None:
    """Where they are not installed, one sentence says so and how to get them; the exit code is 1."""
    code = WITHOUT.format(missing=missing, store=str(tmp_path))

    ended = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        f"isthmus: isthmus verify works on the store itself and needs the aggregator's packages ({missing}"
    )
    assert line.endswith("pip install 'isthmus[aggregator]'")


def test_misspelt_folder_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store folder that is not there is named in one sentence, and stays away."""
    assert main(["verify", "harbour", "--store", str(tmp_path / "stroe")]) == 1

    assert "There is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_store_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither --store nor --config, or both, is a wrong command line."""
    for options in ([], ["--store", "a", "--config", "b"]):
        with pytest.raises(SystemExit) as caught:
            main(["verify", "harbour", *options])
        assert caught.value.code == 2
        assert "--config" in capsys.readouterr().err
