"""How many silos does an aggregator carry? A thousand simulated ones, measured; ten thousand, modelled from that.

    python -m benchmarks.simulate --silos 1000 --rounds 3 --log

Runs a tenth, a quarter and a half of the silos as well, so that each cost shows how it grows, and so that the largest
run checks what the smaller ones foretold. What came out is in reports/simulate: results.json, report.md, scale.png;
with `--log` in docs/LOG.md too, and what matters in docs/scale.md. `--only` measures that one number of silos;
`--again` tells anew what was measured. Exit codes: 0 every silo came to the federation's end; 1 one did not.
"""

import argparse
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.logbook import LOG, enter, machine
from benchmarks.rounds.stage import ROOT, Failed, end_in_order
from benchmarks.simulate.measured import Row, row
from benchmarks.simulate.report import Results, load, summary, write
from benchmarks.simulate.run import Plan, run

SCALE = LOG.with_name("scale.md")
SECTION = "Measured and modelled"

SHARES = (10, 4, 2, 1)
"""By what the number of silos is divided."""

HEADROOM = 200
"""Descriptors of a process beside its connections."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and writes the report anew after every run: what there is stays, whatever comes later."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    command = " ".join(["python -m benchmarks.simulate", *given])
    try:
        results = load(options.out) if options.again else measured(options, command=command)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    text = write(results, folder=options.out)
    print(f"\n{text}\n\n{options.out}")
    if options.log:
        enter(heading(results.rows), text)
        first = results.rows[0]
        if len(results.rows) > 1 and first.replicas == 1 and not first.mtls:
            enter(SECTION, summary(results), log=SCALE)
    return 1 if any(one.failures for one in results.rows) else 0


def measured(options: argparse.Namespace, *, command: str) -> Results:
    """Runs every number of silos.

    Raises:
        Failed: One of them did not come to its end; says which.
    """
    end_in_order()
    require_descriptors(options.silos)
    rows: list[Row] = []
    for silos in [options.silos] if options.only else numbers(options.silos):
        try:
            rows.append(row(run(plan(options, silos))))
        except Failed as error:
            raise Failed(f"{silos} silos: {error}") from error
        write(Results(command, machine(), rows), folder=options.out)
        print(f"{silos} silos: {rows[-1].round_cpu:.1f} s of CPU a round, {rows[-1].peak_mib:.0f} MiB", flush=True)
    return Results(command, machine(), rows)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Measures many simulated silos, and models more.")
    made.add_argument("--silos", type=int, default=1000)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--replicas", type=int, default=1, choices=(1, 2), help="on one folder store")
    made.add_argument("--processes", type=int, default=2, help="that the silos are threads of")
    made.add_argument("--mtls", action="store_true", help="mutual TLS; else plaintext on loopback")
    made.add_argument("--only", action="store_true", help="that number of silos alone, without smaller ones")
    made.add_argument("--again", action="store_true", help="run nothing: tell anew what lies in --out")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the aggregator")
    made.add_argument(
        "--place", default="", help="a folder on a real disk for the store; .cache/benchmarks of this tree"
    )
    made.add_argument("--out", type=Path, default=ROOT / "reports" / "simulate")
    made.add_argument("--log", action="store_true", help="enter the report into docs/LOG.md")
    return made


def numbers(silos: int) -> list[int]:
    """The numbers of silos that are run, the smallest first."""
    return sorted({max(1, silos // share) for share in SHARES})


def plan(options: argparse.Namespace, silos: int) -> Plan:
    """One run of the command line's."""
    return Plan(
        silos,
        options.rounds,
        processes=min(options.processes, silos),
        replicas=options.replicas,
        mtls=options.mtls,
        settings=tuple(options.set),
        place=options.place,
    )


def heading(rows: Sequence[Row]) -> str:
    """Of the log's entry."""
    last = rows[-1]
    kind = f"{last.replicas} replica{'s' * (last.replicas > 1)}, mutual TLS {'on' if last.mtls else 'off'}"
    return f"{last.silos:,} simulated silos, {kind}"


def require_descriptors(silos: int) -> None:
    """Ends the program where a process may not open a file for each silo: better than 1,000 failures."""
    least = silos + HEADROOM
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < least:
        if hard != resource.RLIM_INFINITY and hard < least:
            raise SystemExit(
                f"{silos} silos need {least} open files; this system allows {hard}. Raise it (ulimit -Hn)."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
    os.environ.setdefault("OMP_NUM_THREADS", "1")


if __name__ == "__main__":
    sys.exit(main())
