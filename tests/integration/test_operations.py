"""docs/operations.md: every command in it, run in its order against a real aggregator and real folders."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus import SiloClient
from isthmus.cli import main
from isthmus.contribution import Receipt
from isthmus.receipts import receipt_to_json
from tests import pki
from tests.real_aggregator import ROOT, enrol_silo, real_aggregator

DOCUMENT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TOML = """
name = "xray-captions"
rounds = 3
participation.silos = { min = 1, max = 1 }
plan.learning_rate = { initial = 0.1 }
projector = { kind = "mlp", options = { in_features = 4, hidden_features = 5, out_features = 6 } }
"""

Isthmus = Callable[..., str]


IDENTITY, STORE = DOCUMENT.split("\n## Clocks\n")


def lines(text: str) -> list[list[str]]:
    """The lines of each shell block."""
    return [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)]


def blocks() -> list[list[list[str]]]:
    """The commands of each shell block about the store, `isthmus` left out."""
    return [[shlex.split(line)[1:] for line in block] for block in lines(STORE)]


@pytest.fixture
def isthmus(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Isthmus:
    """Runs a command in a folder of the test's own, expects it to succeed, and gives what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> str:
        assert main(argv) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def push_round(address: str, credentials: Path) -> Receipt:
    """One round of a silo that moves every weight a little, until it is published."""
    with SiloClient(address, federation="xray-captions", credentials=credentials) as hub:
        current = hub.round()
        local = {name: tensor + 0.01 for name, tensor in hub.pull(current).items()}
        receipt = hub.push(current, local, num_examples=8)
        next(iter(hub.rounds()))
        return receipt


def test_commands_of_operations_do_what_it_says(
    tmp_path: Path, isthmus: Isthmus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping, verifying, a backup, a move and an import work as written, and the silo goes on as before."""
    housekeeping, verify, audit, backup, move, compare, resume, imported = blocks()
    (tmp_path / "federation.toml").write_text(TOML)
    with real_aggregator(tmp_path) as aggregator:
        (tmp_path / "old-store").symlink_to("store")
        monkeypatch.setenv("ISTHMUS_AGGREGATOR", aggregator.address)
        monkeypatch.setenv("ISTHMUS_CREDENTIALS", str(aggregator.operator))
        isthmus("create", "federation.toml")
        enrol_silo(aggregator, "north", federation="xray-captions")
        first = push_round(aggregator.address, tmp_path / "north.pem")
        (tmp_path / "outbox" / "receipts").mkdir(parents=True)
        (tmp_path / "outbox" / "receipts" / "1.json").write_bytes(receipt_to_json(first))
        (tmp_path / "authority.pem").write_bytes((pki.folder() / "authority.pem").read_bytes())
        for command in [*housekeeping, *verify, *audit, *backup, *move]:
            isthmus(*command)
        assert "not checked" not in isthmus(*verify[-1])

        aggregator.kill()
        isthmus(*compare[0])
        (tmp_path / "old-store").unlink()
        settings = tmp_path / "aggregator.toml"
        settings.write_text(settings.read_text().replace('store = "store"', 'store = "new-store"'))
        aggregator.start(port=int(aggregator.address.rpartition(":")[2]))
        status = [isthmus(*command) for command in resume][-1]
        second = push_round(aggregator.address, tmp_path / "north.pem")

    assert (True, 1, 2) == ("running" in status, first.round, second.round)
    isthmus(*imported[0])
    assert "recomputed" in isthmus("verify", "xray-captions", "--store", "other-store")


def test_every_verb_of_the_store_is_explained() -> None:
    """The page shows every command that works on the store itself."""
    shown = {command[0] for block in blocks() for command in block}

    assert {"verify", "audit", "housekeeping", "export", "import"} <= shown
