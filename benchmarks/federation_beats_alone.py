"""Does the federation beat a silo alone? The demo's own run, once per seed, and what it found side by side.

    .venv/bin/python -m benchmarks.federation_beats_alone --seeds 0 1 2

A seed draws other pictures, another initial projector and another order of the data. Every run goes through the real
aggregator and real silo agents. Exit codes: 0 the federation's held-out loss is below the mean silo's for every seed;
1 it is not, or a run failed.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.demo.__main__ import real_ingredients
from deploy.demo.display import Display
from deploy.demo.recipe import RECIPE
from deploy.demo.run import Outcome, run
from isthmus.errors import IsthmusError

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every seed, prints the table and writes the numbers."""
    parser = argparse.ArgumentParser(description="Compares the federation with each silo alone, over several seeds.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "federation_beats_alone.json")
    options = parser.parse_args(arguments)
    rows = []
    console = Console(highlight=False)
    try:
        with Display(console) as display:
            ingredients = real_ingredients(display)
            for seed in options.seeds:
                display.say(f"Seed {seed}")
                recipe = dataclasses.replace(RECIPE, seed=seed)
                folder = options.out.absolute().parent / "federation_beats_alone"
                rows.append(row_of(seed, run(ingredients, recipe, folder=folder, root=ROOT, display=display)))
                write(rows, options.out)  # after each seed: what was measured stays, whatever comes later
    except IsthmusError as error:
        print(f"federation_beats_alone: {error}", file=sys.stderr)
        return 1
    console.print(table_of([*rows, mean_of(rows)]))
    return 0 if all(row["federated"] < row["alone_mean"] for row in rows) else 1


def write(rows: Sequence[dict[str, float]], file: Path) -> None:
    """Writes recipe, seeds and means as JSON."""
    document = {"recipe": dataclasses.asdict(RECIPE), "seeds": rows, "mean": mean_of(rows)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def row_of(seed: int, outcome: Outcome) -> dict[str, float]:
    """One run's numbers: held-out losses in nats per caption token, retrieval as shares, seconds."""
    measured = outcome.measured
    alone = [course[-1].all for course in measured.alone.values()]
    federated, pooled = measured.federated_retrieval, measured.pooled_retrieval
    return {
        "seed": seed,
        "untrained": measured.untrained[-1].all,
        "federated": measured.federated[-1].all,
        "alone_mean": statistics.mean(alone),
        "alone_best": min(alone),
        "pooled": measured.pooled[-1].all,
        "federated_top1": federated.top1,
        "federated_top5": federated.top5,
        "pooled_top1": pooled.top1,
        "chance_top1": 1 / federated.candidates,
        "seconds": sum(outcome.seconds.values()),
    }


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every number over the seeds."""
    return {key: statistics.mean(row[key] for row in rows) for key in rows[0] if key != "seed"}


def table_of(rows: Sequence[dict[str, float]]) -> Table:
    """One row per seed, the mean last."""
    keys = [key for key in rows[0] if key != "seed"]
    table = Table("seed", *(key.replace("_", " ") for key in keys), box=None)
    for row in rows:
        table.add_row(str(row.get("seed", "mean")), *(f"{row[key]:.2f}" for key in keys))
    return table


if __name__ == "__main__":
    sys.exit(main())
