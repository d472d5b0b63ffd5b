"""A running federation of Flower: a SuperLink, four SuperNodes and one run, each a process, on loopback."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.inputs import NUM_CLIENTS
from benchmarks.peers.processes import answers, free_port, started, wait_for

APP = Path(__file__).parent / "flower_app"
PYPROJECT = """
[project]
name = "hostile"
version = "1.0.0"
description = "One of four clients is hostile."
license = "Apache-2.0"
dependencies = []
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "benchmarks"
[tool.flwr.app.components]
serverapp = "hostile.server_app:app"
clientapp = "hostile.client_app:app"
"""


def run_federation(environment: Path, *, folder: Path, root: Path) -> list[str]:
    """Every input, once, in the order in which Flower gathers the replies; one line of JSON each.

    Raises:
        RuntimeError: The run did not end in time; `folder` has its logs.
    """
    programs, written, port = environment / "bin", folder / "outcomes.jsonl", free_port()
    variables = settings_of(programs, folder=folder, root=root, port=port)
    link = [programs / "flower-superlink", "--insecure", "--disable-runtime-dependency-installation"]
    with ExitStack() as stack:
        log = folder / "superlink.log"
        stack.enter_context(started([*link, "--port", str(port)], variables, log=log))
        wait_for(lambda: answers(port), what="Flower's SuperLink", log=log, seconds=60.0)
        for client in range(NUM_CLIENTS):
            node = [programs / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--node-config", f"client={client}", "--port", str(free_port())]
            stack.enter_context(started(node, variables, log=folder / f"supernode-{client}.log"))
        run = [programs / "flwr", "run", write_app(folder), "own"]
        stack.enter_context(started(run, variables, log=folder / "run.log"))
        wait_for(lambda: written.exists() and "done" in written.read_text(), what="Flower's run", log=log)
    return [line for line in written.read_text(encoding="utf-8").splitlines() if line != "done"]


def write_app(folder: Path) -> Path:
    """The app as a project of its own, as `flwr run` wants it."""
    app = folder / "app"
    shutil.copytree(APP, app / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "hostile" / "__init__.py").touch()
    (app / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    return app


def settings_of(bin_folder: Path, *, folder: Path, root: Path, port: int) -> dict[str, str]:
    """The processes' variables: a home of their own, and where the run finds this tree."""
    home = folder / "home"
    home.mkdir()
    connection = f'[superlink]\ndefault = "own"\n[superlink.own]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (home / "config.toml").write_text(connection, encoding="utf-8")
    return {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": str(home),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "ISTHMUS_OUTCOMES": str(folder / "outcomes.jsonl"),
    }
