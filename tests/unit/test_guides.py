"""docs/add-a-silo.md and docs/architecture.md are true: commands, settings, keys and modules are the real ones."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import aggregator.__main__
import silo_agent.__main__
from aggregator.ledger import keys
from aggregator.ledger.documents import Upload
from isthmus.cli import build_parser
from silo_agent.composed import ComposedSettings
from silo_agent.config import load_config
from silo_agent.trainer import TRAINERS
from silo_agent.vlm import VlmSettings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "add-a-silo.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every line of a shell block, in README.md and the guide."""
    text = GUIDE + (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


def named(program: list[str]) -> list[list[str]]:
    """The arguments of every command that begins like this."""
    return [command[len(program) :] for command in commands() if command[: len(program)] == program]


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the guide's table whose head begins like this, without backquotes."""
    for line in GUIDE.split(heading, 1)[1].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("arguments", named(["isthmus"]), ids=" ".join)
def test_operator_commands_parse(arguments: list[str]) -> None:
    """Every `isthmus ...` that a document shows is understood."""
    build_parser({}).parse_args(arguments)


@pytest.mark.parametrize("arguments", named(["python", "-m", "silo_agent"]), ids=" ".join)
def test_agent_commands_parse(arguments: list[str]) -> None:
    """Every `python -m silo_agent ...` that a document shows is understood."""
    silo_agent.__main__.build_parser().parse_args(arguments)


@pytest.mark.parametrize("arguments", named(["python", "-m", "aggregator"]), ids=" ".join)
def test_aggregator_commands_parse(arguments: list[str]) -> None:
    """Every `python -m aggregator ...` that a document shows is understood."""
    aggregator.__main__.build_parser().parse_args(arguments)


def test_guides_settings_load(tmp_path: Path) -> None:
    """The silo's settings that the guide shows are understood as they stand."""
    file = tmp_path / "silo.toml"
    file.write_text(re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)[0], encoding="utf-8")

    assert load_config(file, environment={}).silo == "hospital-north"


def test_guide_names_every_trainer() -> None:
    """The guide lists the trainers that there are."""
    assert sorted(row[0] for row in rows("| `trainer.name` |")) == sorted(TRAINERS)


def test_guide_names_every_shared_setting() -> None:
    """The guide lists what a federation's plan.settings may hold for each trainer, with the defaults."""
    listed = [(row[0], row[1], row[2].strip('"')) for row in rows("| trainer | setting |")]

    assert listed == [
        (trainer, name, str(field.default))
        for trainer, model in (("transformers", VlmSettings), ("composed", ComposedSettings))
        for name, field in model.model_fields.items()
    ]


def test_architecture_lists_the_stores_keys() -> None:
    """The keys in docs/architecture.md are those that aggregator/ledger/keys.py makes."""
    upload = Upload(federation="<f>", round="<n>", silo="<silo>", push_id="<push_id>")  # type: ignore[arg-type]
    made = {
        keys.catalog("<f>"),
        keys.federation_file("<f>"),
        keys.state("<f>"),
        keys.finished("<f>"),
        keys.silo("<f>", "<silo>"),
        keys.revocation("<f>", "<silo>"),
        keys.invitation("<f>", "<sha256>"),
        keys.redemption("<f>", "<sha256>"),
        keys.credential("<f>", "<sha256>"),
        keys.strike("<f>", "<silo>", epoch="<epoch>", payload_name="<sha256>"),  # type: ignore[arg-type]
        keys.released("<f>", "<silo>", epoch="<epoch>"),  # type: ignore[arg-type]
        keys.payload_claims("<f>") + "/<sha256>/<number>",
        keys.staged(upload, "<attempt>") + "/<segment>",
        keys.dropped(upload, "<attempt>"),
        keys.contribution("<f>", "<n>", "<silo>"),
        keys.key_offer("<f>", "<n>", "<silo>"),
        keys.key_roster("<f>", "<n>"),
        keys.opening("<f>", "<n>"),
        keys.seed("<f>", "<n>", "<silo>"),
        keys.closing("<f>", "<n>"),
        keys.roster("<f>", "<n>"),
        keys.removal("<f>", "<n>"),
        keys.projector("<f>", "<n>"),
        keys.blob("<f>", b"").rstrip("/") + "/<sha256>",
        keys.refusal("<f>", "<n>", "<silo>", sequence=0).replace("000", "<seq>"),
        keys.admission("<f>", "<n>", "<silo>"),
        keys.act("<f>", 0).replace("00000000", "<seq>"),
        keys.round_record("<f>", "<n>"),
    }

    assert set(re.findall(r"^((?:catalog|federations)/\S+)", ARCHITECTURE, flags=re.MULTILINE)) == made


def test_architecture_lists_every_module() -> None:
    """docs/architecture.md has a row for every module that a person wrote, and for no other."""
    packages = (ROOT / "common" / "isthmus", ROOT / "aggregator", ROOT / "silo_agent")
    modules = (path for package in packages for path in package.rglob("*.py") if path.parent.name != "v1")
    real = {str(path.relative_to(ROOT)) for path in modules if not path.name.startswith("__")}

    assert (
        set(re.findall(r"^\| `((?:common|aggregator|silo_agent)/\S+\.py)` \|", ARCHITECTURE, flags=re.MULTILINE))
        == real
    )
