"""docs/compose.md: every command in it, run in its order against the composition."""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from deploy.demo.recipe import FEDERATION
from tests.compose.engine import ROOT, CommandFailed, Composition, has_image
from tests.compose.monitoring import SCREENS

DOCUMENT = ROOT / "docs" / "compose.md"
MONITORING = "--profile monitoring"
BLOCK_SECONDS = 900.0


def blocks() -> Iterator[str]:
    """Each shell block of the document."""
    yield from re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)


def run_commands(composition: Composition, *, say: Callable[[str], None]) -> None:
    """Runs them all, in a folder that is removed; the federation is as before when they have run.

    Raises:
        CommandFailed: One ended with an error, or the lineage is another one afterwards.
    """
    before = lineage(composition)
    with tempfile.TemporaryDirectory(prefix="isthmus-compose-") as folder:
        for block in blocks():
            missing = missing_screens(composition) if MONITORING in block else []
            if missing:
                say(f"not run, as no image of {' and '.join(missing)} can be had here: {first_line(block)}")
                continue
            say(f"$ {first_line(block)}")
            run_block(composition, block, folder=folder)
    if lineage(composition) != before:
        raise CommandFailed(f"After the commands of {DOCUMENT.name} the lineage is another one than before.")


def run_block(composition: Composition, block: str, *, folder: str) -> None:
    """Runs a block in one shell, which stops at the first error.

    Raises:
        CommandFailed: It did.
    """
    done = subprocess.run(
        ["sh", "-eu", "-c", block],
        cwd=folder,
        env={**os.environ, **composition.variables, "COMPOSE_FILE": str(ROOT / "docker-compose.yml")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BLOCK_SECONDS,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(f"A block of {DOCUMENT.name} ended with {done.returncode}:\n{block}\n{done.stderr[-2000:]}")


def missing_screens(composition: Composition) -> list[str]:
    """Services of the profile whose images are not here and cannot be pulled."""
    services = composition.config()["services"]
    return [name for name in SCREENS if not has_image(services[name]["image"])]


def lineage(composition: Composition) -> Any:
    """All that the aggregator tells of the global projectors."""
    return composition.isthmus("lineage", "--federation", FEDERATION)["projectors"]


def first_line(block: str) -> str:
    """A block's first line, to tell it by."""
    return block.strip().splitlines()[0]
