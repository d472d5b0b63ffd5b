"""Every system under every input: Isthmus first, then the others side by side, each in its own environment."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT, environment_of
from benchmarks.peers.flower_federation import run_federation
from benchmarks.peers.isthmus_federations import run_federations
from benchmarks.peers.outcomes import Outcome, outcome_from
from benchmarks.peers.processes import started, wait_for


@dataclass(frozen=True, slots=True)
class System:
    """What is compared.

    Attributes:
        name: Its key in outcomes.
        title: Its column.
        peer: Whose software it is; "" of ours.
        how: What was run of it.
    """

    name: str
    title: str
    peer: str
    how: str


SYSTEMS = (
    System(
        "isthmus",
        "Isthmus",
        "",
        "an aggregator process with default settings, bare clients over mutual TLS, a federation per input",
    ),
    System(
        "flower",
        "Flower\nFedAvg",
        "flower",
        "flwr.serverapp.strategy.FedAvg: in a running federation (SuperLink, four SuperNodes, a run), and the strategy "
        "alone on messages that went through their wire form, the bad one last and first",
    ),
    System(
        "flower-legacy",
        "Flower legacy\nFedAvg",
        "flower",
        "flwr.server.strategy.FedAvg: the strategy alone on results that went through their wire form",
    ),
    System(
        "nvflare",
        "NVFlare\nFedAvg",
        "nvflare",
        "the FedAvg controller as it comes, in a running job of its simulator: a server and four clients",
    ),
    System(
        "nvflare-sag",
        "NVFlare\nScatterAndGather",
        "nvflare",
        "ScatterAndGather with InTimeAccumulateWeightedAggregator, in another such job",
    ),
)


def run_all(folder: Path, logs: Path) -> list[Outcome]:
    """Every outcome; `folder` is for what is gone afterwards, `logs` for what other systems say."""
    environments = {peer: environment_of(peer) for peer in ("flower", "nvflare")}
    print("Isthmus ...", flush=True)
    outcomes = run_federations(folder)
    print("Flower and NVFlare, side by side; about six minutes ...", flush=True)
    places = {name: logs / name for name in ("flower", "flower-strategies", "nvflare", "nvflare-sag")}
    for place in places.values():
        place.mkdir(parents=True)
    with ThreadPoolExecutor(len(places)) as pool:
        flower, nvflare = environments["flower"], environments["nvflare"]
        running = [
            pool.submit(run_federation, flower, folder=places["flower"], root=ROOT),
            pool.submit(run_module, flower, ["flower"], folder=places["flower-strategies"]),
            pool.submit(run_simulators, nvflare, {name: places[name] for name in ("nvflare", "nvflare-sag")}),
        ]
        return outcomes + [outcome_from(line) for one in running for line in one.result()]


def run_simulators(at: Path, places: Mapping[str, Path]) -> list[str]:
    """NVFlare's jobs, one after the other: two simulators of one machine take each other's ports."""
    return [line for name, place in places.items() for line in run_module(at, ["nvflare_jobs", name], folder=place)]


def run_module(at: Path, words: Sequence[str], *, folder: Path) -> list[str]:
    """The lines of JSON that a module of this package writes when it runs in another environment."""
    written, log = folder / "outcomes.jsonl", folder / "log"
    variables = {
        "PATH": f"{at / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HOME": str(folder),
        "ISTHMUS_OUTCOMES": str(written),
    }
    module, *arguments = words
    command = [at / "bin" / "python", "-m", f"benchmarks.peers.{module}", *arguments, str(folder / "work")]
    with started(command, variables, log=log) as process:
        wait_for(lambda: process.poll() is not None, what=f"{module} {' '.join(arguments)}", log=log)
        if process.returncode or not written.exists():
            raise RuntimeError(f"{module} ended with {process.returncode}. Its log is {log}.")
    return written.read_text(encoding="utf-8").splitlines()
