"""Flower: a SuperLink, a SuperNode per silo, and `flwr run`, from its own environment, over its default transport."""

import os
import shutil
from pathlib import Path

from benchmarks.environments import environment_of
from benchmarks.rounds.marks import Mark
from benchmarks.rounds.meter import SERVER, SILO, TOOL
from benchmarks.rounds.stage import ROOT, Stage, free_port

_APP = Path(__file__).parent / "peers" / "flower_app"

_CONNECTION = """[superlink]
default = "here"
[superlink.here]
address = "127.0.0.1:{port}"
insecure = true
"""


def run(stage: Stage) -> list[Mark]:
    """Every round of the work; when each one's arrays were aggregated.

    Raises:
        Failed: A process ended with an error, or the rounds took too long.
    """
    work, port, commands = stage.work, free_port(), environment_of("flower") / "bin"
    environment = _environment(stage, commands)
    plain = ["--insecure", "--port"]
    link: list[str | Path] = [
        commands / "flower-superlink",
        "--disable-runtime-dependency-installation",
        *plain,
        str(port),
    ]
    stage.start(SERVER, link, environment=environment)
    stage.wait_for_port(port)
    stage.note_idle()
    for number in range(work.silos):
        node: list[str | Path] = [
            commands / "flower-supernode",
            "--superlink",
            f"127.0.0.1:{port}",
            *plain,
            str(free_port()),
        ]
        stage.start(SILO, [*node, "--node-config", f'silo="silo-{number:02d}"'], environment=environment)
    (stage.folder / "flwr" / "config.toml").write_text(_CONNECTION.format(port=port), encoding="ascii")
    app = shutil.copytree(_APP, stage.folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    chosen = f"rounds={work.last_round} silos={work.silos}"
    stage.start(TOOL, [commands / "flwr", "run", app, "here", "--run-config", chosen], environment=environment)
    stage.wait_for_rounds(seconds=120.0 + (30.0 + 20.0 * work.silos) * work.last_round)
    return stage.marks("published")


def _environment(stage: Stage, commands: Path) -> dict[str, str]:
    home = stage.folder / "flwr"
    home.mkdir()
    return {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(stage.folder),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
