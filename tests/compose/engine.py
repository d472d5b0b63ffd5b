"""Docker Compose, driven as a person would: the unmodified docker-compose.yml, in a project of its own."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BASE = (
    os.environ.get("BASE")
    or re.findall(r"^ARG BASE=(.*)$", (ROOT / "deploy" / "aggregator.Dockerfile").read_text(), flags=re.MULTILINE)[0]
)
"""The image that all of ours are built on, as docker-compose.yml asks for it."""

LONGEST_SECONDS = 3600.0


class CommandFailed(Exception):
    """A command of the engine's ended with an error; says which, and the last lines that it said."""


def run(*command: str, environment: Mapping[str, str] | None = None, timeout: float = LONGEST_SECONDS) -> str:
    """What a command says on standard output.

    Raises:
        CommandFailed: It ended with an error.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout


def why_not() -> str | None:
    """Why compositions cannot be run here, in a sentence; None: they can."""
    if shutil.which("docker") is None:
        return "there is no docker on the PATH"
    for command, wanted in (
        (("docker", "info"), "no engine answers"),
        (("docker", "compose", "version"), "no Compose"),
    ):
        try:
            run(*command, timeout=20.0)
        except (CommandFailed, subprocess.TimeoutExpired):
            return f"{wanted}: `{' '.join(command)}` fails"
    return None if has_image(BASE) else f"the image {BASE} is not here and cannot be pulled"


def has_image(name: str) -> bool:
    """Whether the engine has an image, or can pull it."""
    for command in (("docker", "image", "inspect", name), ("docker", "pull", "--quiet", name)):
        try:
            run(*command, timeout=300.0)
        except (CommandFailed, subprocess.TimeoutExpired):
            continue
        return True
    return False


@dataclass(frozen=True)
class Composition:
    """docker-compose.yml under a project's name.

    Attributes:
        project: Its containers, networks and volumes begin with it; two projects share the images alone.
        environment: What the file takes from the environment.
    """

    project: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of every command about it, as a person in this folder has it."""
        return {**self.environment, "COMPOSE_PROJECT_NAME": self.project}

    def compose(self, *arguments: str, timeout: float = LONGEST_SECONDS) -> str:
        """`docker compose ARGUMENTS`; what it says.

        Raises:
            CommandFailed: It ended with an error.
        """
        return run("docker", "compose", *arguments, environment=self.variables, timeout=timeout)

    def config(self) -> Any:
        """The file as Compose reads it, with what the environment sets, in all profiles."""
        return json.loads(self.compose("--profile", "*", "config", "--format", "json"))

    def isthmus(self, *arguments: str, options: tuple[str, ...] = ()) -> Any:
        """What the operator's command line answers, as JSON."""
        return json.loads(self.compose("run", "--rm", "-T", *options, "isthmus", *arguments, "--json"))

    def containers(self, service: str) -> list[str]:
        """Every container of a service, ended ones too, in the order of their numbers."""
        return sorted(self.compose("ps", "--all", "--quiet", service).split(), key=lambda one: inspect(one)["Name"])

    def forget(self, *, keep: tuple[str, ...] = ()) -> None:
        """Removes containers, networks and volumes, but for the volumes of these names."""
        self.compose("--profile", "*", "down", "--timeout", "5", *(() if keep else ("--volumes",)))
        if keep:
            spared = {f"{self.project}_{name}" for name in keep}
            label = f"label=com.docker.compose.project={self.project}"
            found = run("docker", "volume", "ls", "--quiet", "--filter", label).split()
            for volume in sorted(set(found) - spared):
                run("docker", "volume", "rm", volume)


def logged(container: str) -> str:
    """All that a container wrote on standard output and standard error."""
    return run("sh", "-c", 'exec docker logs "$0" 2>&1', container)


def inspect(container: str) -> Any:
    """All that the engine knows of a container."""
    return json.loads(run("docker", "inspect", container))[0]
