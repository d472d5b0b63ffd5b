"""Which hostile inputs do Flower, NVFlare and Isthmus count, side by side, and what becomes of the global?

    .venv/bin/python -m benchmarks.hostile_inputs --log

One of four clients sends each input of `benchmarks.peers.inputs`, the other three are honest. Flower and NVFlare run
with their default aggregation in environments of their own (`benchmarks.environments`); `benchmarks.peers.systems`
says what is run of each. Writes outcomes.json, report.md and matrix.png into reports/hostile_inputs. Exit codes: 0
Isthmus counts no hostile input and counts the honest client; 1 it does not; 2 a system could not be run.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.environments import ROOT, version
from benchmarks.logbook import enter, machine
from benchmarks.peers.matrix import details, holds, sentence, table
from benchmarks.peers.outcomes import AGREES_WITHIN, HARM_FROM, Outcome, outcome_from
from benchmarks.peers.picture import draw
from benchmarks.peers.systems import SYSTEMS, run_all

OUT = ROOT / "reports" / "hostile_inputs"
THREATS = ROOT / "docs" / "threat-model.md"
HEADING = "Hostile inputs, side by side"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every system, prints the matrix, writes the report."""
    parser = argparse.ArgumentParser(description="Feeds hostile inputs to Flower, NVFlare and Isthmus.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--log", action="store_true", help="enter the matrix into docs/LOG.md and the threat model")
    parser.add_argument("--outcomes", type=Path, help="report these outcomes again instead of running anything")
    options = parser.parse_args(arguments)
    try:
        outcomes = read(options.outcomes) if options.outcomes else measured(options.out.absolute())
    except RuntimeError as error:
        print(f"hostile_inputs: {error}", file=sys.stderr)
        return 2
    lines = ",\n".join(json.dumps(asdict(one)) for one in outcomes)
    (options.out / "outcomes.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (options.out / "report.md").write_text(report(outcomes), encoding="utf-8")
    draw(outcomes, file=options.out / "matrix.png")
    print(f"{table(outcomes)}\n\n{sentence(outcomes)}\n{options.out / 'report.md'}")
    if options.log:
        enter(HEADING, f"{section(outcomes)}\n\n{machine()}.")
        state(sentence(outcomes))
    return 0 if holds(outcomes) else 1


def measured(out: Path) -> list[Outcome]:
    """Everything anew."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="isthmus-hostile-") as folder:
        return run_all(Path(folder), out / "logs")


def read(file: Path) -> list[Outcome]:
    """Outcomes of an earlier run."""
    return [outcome_from(json.dumps(fields)) for fields in json.loads(file.read_text(encoding="utf-8"))]


def section(outcomes: Sequence[Outcome]) -> str:
    """What the log says."""
    versions = f"{version('flower')} and {version('nvflare')}"
    return f"""`python -m benchmarks.hostile_inputs` (`make hostile-inputs`), {versions}: one of four clients
sends the input, the others are honest. {sentence(outcomes)}

{table(outcomes)}

A step is the length of the honest three's mean step, of the tensor that is farthest off; less than {AGREES_WITHIN:g} is
"the honest mean", more than {HARM_FROM:g} is harm. "or": the order of the messages decides. The last rows are within
every limit: no single delta shows that it lies. Both peers have other strategies and filters; this is their default."""


def state(result: str) -> None:
    """Puts the result into the threat model, in place of the last one."""
    text = THREATS.read_text(encoding="utf-8")
    THREATS.write_text(re.sub(r"(?m)^Of \d+ hostile inputs .*$", result, text), encoding="utf-8")


def report(outcomes: Sequence[Outcome]) -> str:
    """The whole report."""
    systems = "\n".join(f"* **{system.title}**: {system.how}.".replace("\n", " ") for system in SYSTEMS)
    return (
        f"# {HEADING}\n\n![the matrix](matrix.png)\n\n{section(outcomes)}\n\n{machine()}.\n\n## What was run\n\n"
        f"{systems}\n\n## Every outcome\n\n{details(outcomes)}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
