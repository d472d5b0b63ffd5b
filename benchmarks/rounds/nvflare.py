"""NVFlare: provisioned server and sites over gRPC and mutual TLS, and one FedAvg job, from its own environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.environments import environment_of
from benchmarks.rounds.marks import Mark
from benchmarks.rounds.meter import SERVER, SILO, TOOL
from benchmarks.rounds.stage import ROOT, Failed, Stage, free_port

_JOB = Path(__file__).parent / "peers" / "nvflare_job"
_PROVISION_SECONDS = 120


def run(stage: Stage) -> list[Mark]:
    """Every round of the work; when each one was aggregated. Provisioning is done before the server starts.

    Raises:
        Failed: A process ended with an error, or the rounds took too long.
    """
    work, port, commands = stage.work, free_port(), environment_of("nvflare") / "bin"
    environment = _environment(stage, commands)
    kits = _provisioned(stage, environment, port=port)
    python = commands / "python"
    stage.start(SERVER, _process(python, kits / "server", side="server"), environment=environment, cwd=kits / "server")
    stage.wait_for_port(port)
    stage.note_idle()
    logs = []
    for number in range(1, work.silos + 1):
        kit = kits / f"site-{number}"
        command = _process(python, kit, side="client", uid=kit.name)
        logs.append(stage.start(SILO, command, environment=environment, cwd=kit))
    stage.wait(lambda: all(_is_registered(log) for log in logs), what="the sites' registration", seconds=180.0)
    job = shutil.copytree(_JOB, stage.folder / "job", ignore=shutil.ignore_patterns("__pycache__"))
    submit: list[str | Path] = [python, "submit.py", str(work.silos), str(work.last_round), kits / "admin@nvidia.com"]
    stage.start(TOOL, submit, environment=environment, cwd=job)
    stage.wait_for_rounds(seconds=120.0 + (30.0 + 15.0 * work.silos) * work.last_round)
    return stage.marks("published")


def _process(python: Path, kit: Path, *, side: str, uid: str = "") -> list[str | Path]:
    """What a start-up kit's own script runs, without its loop that starts it again."""
    module = f"nvflare.private.fed.app.{side}.{side}_train"
    names = [f"uid={uid}"] if uid else []
    settings = ["secure_train=true", *names, "org=nvidia", "config_folder=config"]
    return [python, "-u", "-m", module, "-m", kit, "-s", f"fed_{side}.json", "--set", *settings]


def _provisioned(stage: Stage, environment: dict[str, str], *, port: int) -> Path:
    """Start-up kits for the server, the sites and an administrator; their folder."""
    project, workspace = stage.folder / "project.yml", stage.folder / "workspace"
    _prepare(stage, ["-n", str(stage.work.silos)], environment)
    text = (workspace / "project.yml").read_text(encoding="utf-8")
    text = re.sub(r"fed_learn_port: \d+", f"fed_learn_port: {port}", text)
    text = text.replace("    config_folder: config\n", "    config_folder: config\n    scheme: grpc\n")
    project.write_text(text, encoding="utf-8")
    _prepare(stage, ["-i", str(project)], environment)
    return workspace / "example_project" / "prod_00"


def _prepare(stage: Stage, arguments: list[str], environment: dict[str, str]) -> None:
    command = [str(environment_of("nvflare") / "bin" / "nvflare"), "poc", "prepare", *arguments, "--force"]
    result = subprocess.run(
        command,
        env=stage.environment(TOOL) | environment,
        cwd=stage.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PROVISION_SECONDS,
        check=False,
    )
    if result.returncode:
        raise Failed(f"`nvflare poc prepare` failed: {result.stderr[-500:]}")


def _is_registered(log: Path) -> bool:
    return "Successfully registered" in log.read_text(encoding="utf-8", errors="replace")


def _environment(stage: Stage, commands: Path) -> dict[str, str]:
    return {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(stage.folder),
        "NVFLARE_POC_WORKSPACE": str(stage.folder / "workspace"),
    }
