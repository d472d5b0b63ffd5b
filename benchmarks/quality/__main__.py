"""Which method makes the best projector, and which rule withstands which attack? On real training, in this process.

    python -m benchmarks.quality                 methods x splits; report.md, results.json, courses.png, differences.png
    python -m benchmarks.quality attacks         attacks x rules; attacks.md, attacks.json, attacks.png
    python -m benchmarks.quality tune            how the methods' options were found
    python -m benchmarks.quality --llm demo      the same under the demo's language model, far slower

in reports/quality, or reports/quality-demo; with `--log` the tables stand in docs/LOG.md too. Real: the vision encoder,
the pictures and their captions, the silos' training, the aggregator's arithmetic. Not real: without `--llm demo` the
language model, a nano one trained on the captions' words; and the transport, of which there is none. Finished cells
are kept there, in the folder cells: a repeated command computes only those that are missing. Exit codes: 0 done; 1
something that is needed is missing.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.logbook import enter, machine
from benchmarks.quality import plots, report, siege_report
from benchmarks.quality.attacks import ATTACKS
from benchmarks.quality.cells import Cell, Result, cells_of, result_of
from benchmarks.quality.crew import ROOT, Clock, in_order
from benchmarks.quality.federate import DEMO_RECIPE, RECIPE
from benchmarks.quality.material import DEMO_LLM, NANO_LLM
from benchmarks.quality.methods import available
from benchmarks.quality.siege import NUM_SILOS, Siege, defences, siege_result, sieges_of
from benchmarks.quality.splits import SPLITS
from benchmarks.quality.tuning import searched, told
from isthmus.errors import IsthmusError

MODES = ("multi_pass", "one_pass")

FULL_SEEDS = range(5)

RECIPES = {NANO_LLM: RECIPE, DEMO_LLM: DEMO_RECIPE}
"""How a comparison trains under each language model."""

HEADINGS = {NANO_LLM: "the nano language model", DEMO_LLM: "the demo's language model"}

Order = TypeVar("Order", Cell, Siege)


def main(arguments: Sequence[str] | None = None) -> int:
    """Computes what is missing, and writes the tables anew."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    options.out = options.out or ROOT / "reports" / ("quality" if options.llm == NANO_LLM else "quality-demo")
    command = " ".join(["python -m benchmarks.quality", *given])
    try:
        TASKS[options.task](options, command)
    except IsthmusError as error:
        print(f"quality: {error}", file=sys.stderr)
        return 1
    return 0


def compare(options: argparse.Namespace, command: str) -> None:
    """Methods over splits."""
    seeds = list(FULL_SEEDS) if options.full else options.seeds
    recipe = RECIPES[options.llm]
    if options.rounds:
        recipe = dataclasses.replace(recipe, rounds=options.rounds)
    cells = cells_of(splits=options.splits, modes=options.modes, methods=options.methods, seeds=seeds, recipe=recipe)
    ordered = results(cells, result_of, options)
    opening = f"`{command}`: seeds {', '.join(map(str, seeds))}; {_costs(ordered)}. {machine()}."
    text = report.report(ordered, opening=opening)
    report.write(ordered, text, folder=options.out, command=command)
    plots.plot(ordered, folder=options.out)
    longer = f", {options.rounds} rounds" if options.rounds else ""
    _tell(text, f"Methods compared on {HEADINGS[options.llm]}{longer}", options)


def attack(options: argparse.Namespace, command: str) -> None:
    """Attacks against rules."""
    chosen = {name: method for name, method in defences().items() if name in options.rules or not options.rules}
    sieges = sieges_of(defences=chosen, attacks=options.attacks, hostile=options.hostile, seeds=options.seeds)
    ordered = results(sieges, siege_result, options)
    seeds = ", ".join(map(str, options.seeds))
    opening = f"`{command}`: {NUM_SILOS} silos, seeds {seeds}; {_costs(ordered)}. {machine()}."
    text = siege_report.report(ordered, opening=opening)
    siege_report.write(ordered, text, folder=options.out, command=command)
    plots.plot_attacks(ordered, file=options.out / "attacks.png")
    _tell(text, "Attacks against rules on the nano language model", options)


def tune(options: argparse.Namespace, command: str) -> None:
    """Candidates of each method on the search seed."""
    cells = searched(options.methods)
    clock = Clock(len(cells), say)
    sums: dict[tuple[str, str], float] = {}
    for cell, result in crew(cells, result_of, options):
        clock.tick(f"{cell.words}, {told(cell)}: {result['losses'][-1]:.3f}")
        sums[cell.name, told(cell)] = sums.get((cell.name, told(cell)), 0.0) + result["losses"][-1]
    rows = [f"| {name} | {words} | {loss:.3f} |" for (name, words), loss in sorted(sums.items())]
    lines = [f"`{command}`", "", "| method | options | loss, summed over splits |", "| --- | --- | --- |", *rows]
    _tell("\n".join(lines), "Options of the compared methods", options)


def results(
    orders: Sequence[Order], compute: Callable[..., Result], options: argparse.Namespace
) -> dict[Order, Result]:
    """Every order's result, in this order; with --kept those alone that are there already."""
    found: dict[Order, Result] = {}
    clock = Clock(len(orders), say)
    compute = functools.partial(compute, only_kept=options.kept)
    for order, result in crew(orders, compute, options):
        found[order] = result
        clock.tick(f"{order.words}: {result['losses'][-1]:.3f}" if result else f"{order.words}: not there")
    return {order: found[order] for order in orders if found[order]}


def crew(
    orders: Sequence[Order], compute: Callable[..., Result], options: argparse.Namespace
) -> Iterator[tuple[Order, Result]]:
    """Every order with its result, as they come."""
    cells = options.out / "cells"
    return in_order(orders, compute, folder=cells, jobs=options.jobs, llm_name=options.llm, say=say)


TASKS = {"compare": compare, "attacks": attack, "tune": tune}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.quality", description="Compares methods, and rules.")
    made.add_argument("task", nargs="?", choices=TASKS, default="compare")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    made.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    made.add_argument("--methods", nargs="+", choices=available(), default=list(available()))
    made.add_argument("--rules", nargs="+", choices=defences(), default=[], help="of `attacks`; all of them")
    made.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    made.add_argument("--hostile", type=int, nargs="+", default=[0, 1, 2, 3], help=f"silos of {NUM_SILOS}")
    made.add_argument("--llm", choices=RECIPES, default=NANO_LLM, help="the frozen language model")
    made.add_argument("--rounds", type=int, help="of multi-pass courses, each one pass over the data")
    made.add_argument("--full", action="store_true", help="five seeds in place of three; not for `attacks`")
    made.add_argument("--kept", action="store_true", help="compute nothing: tell what earlier runs kept")
    made.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    made.add_argument("--out", type=Path, help="reports/quality or reports/quality-demo")
    made.add_argument("--log", action="store_true", help="enter the tables into docs/LOG.md")
    return made


def say(words: str) -> None:
    """What goes on, a line each."""
    print(words, flush=True)


def _costs(found: Mapping[Order, Result]) -> str:
    seconds = sum(result["cpu_seconds"] for result in found.values())
    return f"{len(found)} cells of {seconds / len(found):.1f} CPU seconds each in the mean"


def _tell(text: str, heading: str, options: argparse.Namespace) -> None:
    print(f"\n{text}\n\n{options.out}")
    if options.log:
        enter(heading, text)


if __name__ == "__main__":
    sys.exit(main())
