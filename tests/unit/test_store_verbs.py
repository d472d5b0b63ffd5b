"""The command line's verbs that work on the store: their options, and what they say without the aggregator."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from aggregator.commands.place import open_existing, require_apart
from isthmus.cli import VERBS, main
from isthmus.cli.store import COMMANDS
from isthmus.errors import ConfigInvalid
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
    assert line.endswith("pip install '.[aggregator]' in a clone of Isthmus")


def test_misspelt_folder_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store folder that is not there is named in one sentence, and stays away."""
    assert main(["verify", "harbour", "--store", str(tmp_path / "stroe")]) == 1

    assert "There is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_folder_with_a_percent_sign_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is named as it is, not by a URL, may have any name: the same one is looked for and opened."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a%20b").mkdir()
    open_existing("a%20b", read_only=False).put("key", b"content")

    assert (tmp_path / "a%20b" / "key").is_file()


def test_store_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither --store nor --config, or both, is a wrong command line."""
    for options in ([], ["--store", "a", "--config", "b"]):
        with pytest.raises(SystemExit) as caught:
            main(["verify", "harbour", *options])
        assert caught.value.code == 2
        assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("store", "store"),
        ("store", "file://{here}/store"),
        ("store", "store/inside"),
        ("store/inside", "store"),
        ("s3://bucket/one", "s3://bucket/one/?region=eu"),
        ("s3://bucket", "s3://bucket/two"),
        ("memory:", "store"),
        ("store", "memory:"),
    ],
)
def test_copy_to_its_own_place_is_refused(
    source: str, destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that would be no second one, or would not last, is refused before anything is read or made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigInvalid):
        require_apart(source.format(here=tmp_path), destination.format(here=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "destination"), [("store", "store2"), ("s3://bucket/one", "s3://bucket/two"), ("gs://a", "s3://a")]
)
def test_places_beside_each_other_are_apart(source: str, destination: str) -> None:
    """Stores that only begin alike, or are called alike elsewhere, are two places."""
    require_apart(source, destination)
