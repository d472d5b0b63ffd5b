"""Settings: the file, then the environment, then --set; and the words a wrong key gets."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from isthmus.config import FilePath, load_settings
from isthmus.errors import ConfigInvalid
from silo_agent.config import SiloConfig, load_config


class Inner(BaseModel):
    """A table."""

    model_config = ConfigDict(extra="forbid")
    number: int = 1


class Outer(BaseModel):
    """A file."""

    model_config = ConfigDict(extra="forbid")
    word: str = "default"
    place: FilePath = Path()
    inner: Inner = Inner()


def load(tmp_path: Path, toml: str = "", *, environment: dict[str, str] | None = None, sets: tuple[str, ...] = ()):
    """Loads a file with this text."""
    file = tmp_path / "x.toml"
    file.write_text(toml)
    return load_settings(Outer, file, prefix="X", environment=environment or {}, assignments=sets)


def test_later_sources_win(tmp_path: Path) -> None:
    """An environment variable overrides the file, --set overrides both, and what none names is the default."""
    toml = 'word = "file"\n[inner]\nnumber = 2\n'

    assert (load(tmp_path).word, load(tmp_path, toml).word) == ("default", "file")
    assert load(tmp_path, toml, environment={"X__WORD": "environment"}).word == "environment"
    loaded = load(tmp_path, toml, environment={"X__INNER__NUMBER": "3", "XY": "7"}, sets=("inner.number=4",))
    assert (loaded.word, loaded.inner.number) == ("file", 4)


def test_values_that_are_no_toml_are_text(tmp_path: Path) -> None:
    """An address or a name given with --set needs no quotes."""
    assert load(tmp_path, sets=("word=127.0.0.1:8443",)).word == "127.0.0.1:8443"


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """A relative path means the same wherever the process was started; an absolute one stays."""
    assert load(tmp_path, 'place = "a/b"').place == tmp_path / "a" / "b"
    assert load(tmp_path, 'place = "/a/b"').place == Path("/a/b")


@pytest.mark.parametrize(
    ("toml", "sets", "words"),
    [
        ("wrod = 1", (), "wrod: there is no such key"),
        ("[inner]\nnumbre = 1", (), r"inner\.numbre: there is no such key"),
        ("[inner]\nnumber = 'x'", (), r"inner\.number: Input should be a valid integer"),
        ("", ("inner.numbre=1",), r"inner\.numbre: there is no such key"),
        ("", ("word",), "--set word has no value"),
        ("word = 'a'", ("word.part=1",), "word is a value, not a table"),
        ("word = ", (), "is not valid TOML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, toml: str, sets: tuple[str, ...], words: str) -> None:
    """Whatever is wrong, in the file or on the command line, is refused by its dotted key."""
    with pytest.raises(ConfigInvalid, match=words):
        load(tmp_path, toml, sets=sets)


def test_wrong_variables_are_named(tmp_path: Path) -> None:
    """An environment variable with the prefix that names no key is refused: a typo there is not passed over."""
    with pytest.raises(ConfigInvalid, match=r"inner\.numbre: there is no such key"):
        load(tmp_path, environment={"X__INNER__NUMBRE": "1"})


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A settings file that is not there is named with what to correct."""
    with pytest.raises(ConfigInvalid, match=r"none\.toml cannot be read: No such file or directory\. Correct --config"):
        load_settings(Outer, tmp_path / "none.toml", prefix="X", environment={})


def test_silo_settings_know_their_folder(tmp_path: Path) -> None:
    """The agent's paths start at its file's folder, also those of a trainer's own keys."""
    file = tmp_path / "silo.toml"
    file.write_text(
        'aggregator = "a:1"\nfederation = "f"\ncredentials = "silo.pem"\nsilo = "s"\nstate = "state"\n'
        '[data]\nfolder = "pictures"\n[trainer]\nname = "composed"\nllm = "llm"\n'
    )

    config = load_config(file, environment={})

    assert (config.folder, config.credentials) == (tmp_path, tmp_path / "silo.pem")
    assert config.cache_folder == tmp_path / "state" / "cache"
    assert config.trainer.options == {"llm": "llm"}


@pytest.mark.parametrize("aggregator", ["host", "host:", "http://host:1", "host:port", "a b:1", "a:1,b"])
def test_address_of_no_aggregator_is_refused(tmp_path: Path, aggregator: str) -> None:
    """An address that is none is refused by its key, in the sentence of the SDK."""
    with pytest.raises(ConfigInvalid, match=r"aggregator: .* is no address of an aggregator"):
        load_settings(
            SiloConfig, _empty(tmp_path), prefix="X", environment={}, assignments=(f"aggregator='{aggregator}'",)
        )


@pytest.mark.parametrize("aggregator", ["host:1", "tls://host:1", "dns:///host:1", "a:1,b:2"])
def test_address_of_any_aggregator_is_taken(tmp_path: Path, aggregator: str) -> None:
    """Public authorities and several replicas are an agent's to use as much as the SDK's."""
    file = tmp_path / "silo.toml"
    file.write_text(
        f'aggregator = "{aggregator}"\nfederation = "f"\ncredentials = "silo.pem"\nsilo = "s"\nstate = "state"\n'
        '[data]\nfolder = "pictures"\n[trainer]\nname = "composed"\n'
    )

    assert load_config(file, environment={}).aggregator == aggregator


def _empty(folder: Path) -> Path:
    file = folder / "silo.toml"
    file.write_text("")
    return file
