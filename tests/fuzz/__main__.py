"""`make fuzz`: every target under coverage-guided fuzzing, bounded in time. Needs atheris (requirements/fuzz.lock).

    python -m tests.fuzz --seconds 60 --target header
    python -m tests.fuzz --repeat header reports/fuzz/header/crash-...

Exit codes: 0 no findings; 1 findings, or a target could not be run.
"""

import argparse
import importlib.util
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.logbook import enter, machine
from tests.fuzz.libfuzzer import GROWN, Outcome, fuzz, keep
from tests.fuzz.targets import ROOT, TARGETS, corpus_of

_ROW = "{:<9}{:>8}{:>12}{:>10}{:>16}{:>8}{:>10}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzzes, prints what came of it; the exit code."""
    options = _parser().parse_args(arguments)
    if options.repeat:
        name, file = options.repeat
        TARGETS[name].run(Path(file).read_bytes())
        print(f"{name} finds nothing wrong with {file}.")
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: run `make fuzz`. It is built for Linux on x86_64, CPython 3.11 to 3.13.")
        return 1
    names = options.target or list(TARGETS)
    seed = options.seed or secrets.randbelow(2**31) + 1
    print(_ROW.format("target", "seconds", "executions", "a second", "edges", "corpus", "findings"), flush=True)
    outcomes = [_fuzzed(name, names, total=options.seconds, seed=seed) for name in names]
    for outcome in outcomes:
        _explain(outcome)
    if options.keep:
        for name in names:
            print("{}: {} inputs in the tree before, {} now".format(name, *keep(name)))
    if options.log:
        _log(outcomes, seed=seed)
    return 1 if any(outcome.said for outcome in outcomes) else 0


def _fuzzed(name: str, names: Sequence[str], *, total: float, seed: int) -> Outcome:
    share = TARGETS[name].share / sum(TARGETS[one].share for one in names)
    outcome = fuzz(name, seconds=total * share, seed=seed)
    print(_ROW.format(*_cells(outcome)), flush=True)
    return outcome


def _cells(outcome: Outcome) -> tuple[object, ...]:
    rate = outcome.executions / max(1.0, outcome.seconds)
    edges = f"{outcome.edges_before} -> {outcome.edges}"
    numbers = (round(outcome.seconds), outcome.executions, round(rate), edges, outcome.corpus_files)
    return (outcome.target, *numbers, len(outcome.crashes))


def _explain(outcome: Outcome) -> None:
    """What a target found, and how to see it again."""
    if outcome.said:
        print(f"\n{outcome.target} ended with:\n{outcome.said}")
    for crash in outcome.crashes:
        print(f"Repeat with: python -m tests.fuzz --repeat {outcome.target} {crash.relative_to(ROOT)}")


def _log(outcomes: Sequence[Outcome], *, seed: int) -> None:
    """Enters the numbers into the log of measurements."""
    rows = "\n".join(
        "| {} | {} | {} | {} | {} | {} | {} | {} |".format(*_cells(one), len(corpus_of(one.target))) for one in outcomes
    )
    seconds = round(sum(outcome.seconds for outcome in outcomes))
    enter(
        "Coverage-guided fuzzing",
        f"`python -m tests.fuzz --seconds {seconds} --seed {seed}`, on one core. {machine()}.\n\n"
        "| target | seconds | inputs tried | a second | edges covered, at first -> in the end | corpus | findings "
        f"| of it in the tree |\n|---|---|---|---|---|---|---|---|\n{rows}",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0, help="for all targets together (%(default)s)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer's choices; 0: another one each time")
    parser.add_argument(
        "--keep", action="store_true", help=f"take what brought coverage ({GROWN.relative_to(ROOT)}) into the tree"
    )
    parser.add_argument("--log", action="store_true", help="add the numbers to docs/LOG.md")
    parser.add_argument("--repeat", nargs=2, metavar=("TARGET", "FILE"), help="only judge this input, without atheris")
    return parser


if __name__ == "__main__":
    sys.exit(main())
