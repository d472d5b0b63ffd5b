"""What a round by `fed_cmp` costs: time and peak memory at 32 silos of 84 MB, files as they would be staged.

    python -m benchmarks.fed_cmp_cost --silos 32 --widths 1024 4096 4096 --log

Two rounds of a federation, each in a process of its own; in the second the momentum acts, and that one counts.
Exit codes: 0 every bar that applies holds (32 silos of 1024->4096->4096: 120 s and 1.5 GiB), 1 one does not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from aggregator.aggregate import RoundInputs, aggregate
from aggregator.blocks import Payload, open_payload
from benchmarks.logbook import enter, machine
from isthmus.codec import F32, encode
from isthmus.contribution import Encoding
from isthmus.federation import Choice, StrategyPolicy
from isthmus.payload import header_bytes
from isthmus.spec import ProjectorSpec, TensorSpec

BAR_SECONDS, BAR_BYTES = 120.0, 1.5 * 2**30
BAR_WORK = (32, [1024, 4096, 4096])


def spec_of_widths(widths: Sequence[int]) -> ProjectorSpec:
    """An MLP of these widths: a weight and a bias for each step."""
    tensors = [
        TensorSpec(f"linear_{step}.{kind}", "F32", shape)
        for step, (width_in, width_out) in enumerate(pairwise(widths), 1)
        for kind, shape in (("bias", (width_out,)), ("weight", (width_out, width_in)))
    ]
    return ProjectorSpec(tuple(tensors))


def write_payload(path: Path, spec: ProjectorSpec, *, seed: int, scale: float, shared: float) -> None:
    """Low-rank structure that silos share, and noise of their own."""
    with path.open("wb") as out:
        out.write(header_bytes(spec, Encoding.FP32))
        for tensor in spec.tensors:
            out.write(encode(_values(tensor, seed=seed, scale=scale, shared=shared), Encoding.FP32))


def _values(tensor: TensorSpec, *, seed: int, scale: float, shared: float) -> F32:
    own, common = np.random.default_rng(seed), np.random.default_rng(0)
    noise = own.standard_normal(tensor.shape, np.float32) * np.float32(scale)
    if len(tensor.shape) == 2:
        left = common.standard_normal((tensor.shape[0], 8), np.float32)
        right = common.standard_normal((8, tensor.shape[1]), np.float32) + own.standard_normal((8, 1), np.float32)
        noise += left @ right * np.float32(scale * shared)
    return noise.ravel()


def payload(path: Path) -> Payload:
    """A file, read by range."""
    handle = os.open(path, os.O_RDONLY)  # until the process ends
    return open_payload(lambda offset_bytes, size_bytes: os.pread(handle, size_bytes, offset_bytes))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """One round in this process: the first one's state is there if it was run before."""
    spec = spec_of_widths(options.widths)
    state = folder / "state-0"
    inputs = RoundInputs(
        spec=spec,
        encoding=Encoding.FP32,
        projector=payload(folder / "projector-0"),
        state=payload(state) if state.exists() and state.stat().st_size else None,
        deltas=tuple(payload(folder / f"delta-{silo}") for silo in range(options.silos)),
        num_examples=tuple(range(1, options.silos + 1)),
    )
    chosen = StrategyPolicy(rule=Choice.model_validate(json.loads(options.rule)))
    out = folder / f"state-{1 if inputs.state else 0}"
    before, worked = time.perf_counter(), time.process_time()
    with (folder / "next").open("w+b") as projector_out, out.open("w+b") as state_out:
        aggregate(
            inputs,
            chosen,
            memory_budget_bytes=options.budget_mib << 20,
            projector_out=projector_out,
            state_out=state_out,
        )
    seconds = time.perf_counter() - before
    worked = time.process_time() - worked
    return {
        "seconds": seconds,
        "processor_seconds": worked,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }


def in_own_process(folder: Path, arguments: Sequence[str]) -> dict[str, float]:
    """The same in a process whose peak memory is this round's alone."""
    command = [sys.executable, "-m", "benchmarks.fed_cmp_cost", *arguments, "--folder", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the deltas, measures two rounds, says what the second cost."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    if options.folder:
        print(json.dumps(measure(options.folder, options)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder, spec = Path(name), spec_of_widths(options.widths)
        write_payload(folder / "projector-0", spec, seed=1, scale=0.02, shared=0.1)
        for silo in range(options.silos):
            write_payload(folder / f"delta-{silo}", spec, seed=2 + silo, scale=0.001, shared=1.0)
        rounds = []
        for number in (1, 2):
            rounds.append(in_own_process(folder, given))
            print(f"round {number}: {rounds[-1]}", file=sys.stderr, flush=True)
    text = report(options, rounds, size_bytes=4 * spec.num_elements)
    print(text)
    if options.log:
        enter("What a round by fed_cmp costs", text)
    barred = (options.silos, options.widths) == BAR_WORK
    held = rounds[-1]["seconds"] <= BAR_SECONDS and rounds[-1]["peak_bytes"] <= BAR_BYTES
    return 0 if held or not barred else 1


def report(options: argparse.Namespace, rounds: Sequence[dict[str, float]], *, size_bytes: int) -> str:
    """A table of both rounds."""
    widths = "->".join(map(str, options.widths))
    lines = [
        f"{options.silos} silos of {size_bytes / 1e6:.0f} MB ({widths}), rule `{options.rule}`, memory budget",
        f"{options.budget_mib} MiB, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}; {machine()}.",
        "",
        "| round | seconds | processor seconds | peak memory of the process (MiB) |",
        "|---|---|---|---|",
    ]
    for number, cost in enumerate(rounds, 1):
        lines.append(
            f"| {number} | {cost['seconds']:.1f} | {cost['processor_seconds']:.1f} | {cost['peak_bytes'] / 2**20:.0f} |"
        )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Measures a round by fed_cmp.")
    made.add_argument("--silos", type=int, default=32)
    made.add_argument("--widths", type=int, nargs="+", default=[1024, 4096, 4096])
    made.add_argument("--rule", default='{"name": "fed_cmp"}', help="JSON")
    made.add_argument("--budget-mib", type=int, default=256)
    made.add_argument("--scratch", type=Path, help="where the deltas are written; default: the system's")
    made.add_argument("--log", action="store_true", help="enter the figures into docs/LOG.md")
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(main())
