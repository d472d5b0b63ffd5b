"""`python -m deploy.demo`: federates a real projector across four silos on this machine, and writes a report.

Exit codes: 0 done; 1 it failed, with a sentence on standard error; 2 the command line is wrong; 130 stopped by Ctrl-C.
"""

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from deploy.demo.assets import cache_folder, gather, only, unpacked_llm
from deploy.demo.display import Display
from deploy.demo.document import report_from
from deploy.demo.federate import Models
from deploy.demo.fetch import fetch
from deploy.demo.packages import ENCODER, PACKAGES
from deploy.demo.pictures import concepts
from deploy.demo.processes import ENDINGS
from deploy.demo.recipe import RECIPE, Recipe
from deploy.demo.report import write_report
from deploy.demo.run import Ingredients, run
from isthmus.errors import IsthmusError

ROOT = Path(__file__).parents[2]
STOPPED = 130


Gather = Callable[[Display], Ingredients]
"""Brings everything that a demo is made of."""


def real_ingredients(display: Display) -> Ingredients:
    """The published models and pictures, from the cache or from their registries.

    Raises:
        ConfigInvalid: Something can neither be found nor fetched; names it, and what to do.
    """
    cache = cache_folder(ROOT)
    folders = gather(cache, fetch=fetch, say=display.say)
    llm = unpacked_llm(folders, cache, root=ROOT, say=display.say)
    models = Models(only(folders[ENCODER.name], "*.pth"), llm)
    return Ingredients(models, concepts(folders), PACKAGES)


def main(
    arguments: Sequence[str] | None = None, *, ingredients: Gather = real_ingredients, recipe: Recipe = RECIPE
) -> int:
    """Runs the demo and returns the exit code; tests bring ingredients and a recipe that fit into seconds."""
    options = _parser().parse_args(arguments)
    for number in ENDINGS:
        signal.signal(number, signal.default_int_handler)  # every end takes the children along, as Ctrl-C does
    try:
        _demo(dataclasses.replace(recipe, seed=options.seed), options.out.absolute(), ingredients)
    except KeyboardInterrupt:
        print("demo: stopped; nothing of it is running any more.", file=sys.stderr)
        return STOPPED
    except (IsthmusError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _demo(recipe: Recipe, out: Path, bring: Gather) -> None:
    started = time.monotonic()
    console = Console(highlight=False)
    with Display(console) as display:
        ingredients = bring(display)
        set_up = time.monotonic() - started
        outcome = run(ingredients, recipe, folder=out / "work", root=ROOT, display=display)
        display.stage("Writing the report")
        report = report_from(outcome, ingredients, recipe, out=out, now=datetime.now(UTC), set_up_seconds=set_up)
        page = write_report(report, out)
    console.print(f"The report: {page}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description="Federate a real projector, here.")
    parser.add_argument("--seed", type=int, default=0, help="of pictures, projector and order (default: 0)")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "demo", help="the report's folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
