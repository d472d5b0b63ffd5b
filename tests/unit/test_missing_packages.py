"""A silo without a package that it needs is told in one sentence how to get it."""

import subprocess
import sys
from pathlib import Path

import pytest

import silo_agent
from isthmus.errors import ConfigInvalid
from isthmus.federation import Choice
from silo_agent.data import Samples
from silo_agent.trainer import TRAINERS, Surroundings, build_trainer
from tests.real_aggregator import ENVIRONMENT

MODULES = {
    "composed": ["silo_agent.composed", "silo_agent.captioner", "silo_agent.llms"],
    "transformers": ["silo_agent.vlm"],
}


@pytest.mark.parametrize("name", TRAINERS)
def test_trainer_without_transformers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trainer that needs transformers names it and the command that installs it."""
    for module in MODULES[name]:
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delattr(silo_agent, module.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(ConfigInvalid, match=r'needs the package transformers.*pip install "\.\[silo\]" in a clone'):
        build_trainer(Choice(name=name), Surroundings("s", Samples(()), tmp_path), folder=tmp_path)


def test_agent_without_pillow(tmp_path: Path) -> None:
    """The command itself says in one sentence what is missing, and ends with 1."""
    code = (
        "import sys; sys.modules['PIL'] = None\nfrom silo_agent.__main__ import main\n"
        f"sys.exit(main(['check', '--config', {str(tmp_path / 'silo.toml')!r}]))"
    )
    (tmp_path / "silo.toml").write_text(
        'aggregator = "a:1"\nfederation = "f"\ncredentials = "c"\nsilo = "s"\nstate = "s"\n'
        '[data]\nfolder = "d"\n[trainer]\nname = "composed"\n'
    )

    ended = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("silo_agent: import of PIL")
    assert line.endswith('pip install ".[silo]" in a clone')
