"""Runs a job of NVFlare in its simulator: a real server and four real clients, every input a round.

`python -m benchmarks.peers.nvflare_jobs SYSTEM FOLDER`, in NVFlare's own environment.
"""

import sys
from pathlib import Path

from nvflare.apis.dxo import DataKind
from nvflare.app_common.aggregators.intime_accumulate_model_aggregator import InTimeAccumulateWeightedAggregator
from nvflare.app_common.shareablegenerators.full_model_shareable_generator import FullModelShareableGenerator
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.app_common.workflows.scatter_and_gather import ScatterAndGather
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import FrameworkType, ScriptRunner

from benchmarks.peers.inputs import NUM_CLIENTS
from benchmarks.peers.nvflare_job.rounds import NUM_ROUNDS
from benchmarks.peers.nvflare_job.server import Persistor, Probe

SCRIPT = Path(__file__).parent / "nvflare_job" / "client.py"


def fedavg(job: FedJob) -> None:
    """The FedAvg controller, which NVFlare's FedAvg recipes use."""
    job.to_server(FedAvg(num_clients=NUM_CLIENTS, num_rounds=NUM_ROUNDS))


def scatter_and_gather(job: FedJob) -> None:
    """ScatterAndGather with its own weighted aggregator, the older way."""
    controller = ScatterAndGather(min_clients=NUM_CLIENTS, num_rounds=NUM_ROUNDS, persistor_id="persistor")
    job.to_server(controller)
    job.to_server(FullModelShareableGenerator(), id="shareable_generator")
    job.to_server(InTimeAccumulateWeightedAggregator(expected_data_kind=DataKind.WEIGHTS), id="aggregator")


WORKFLOWS = {"nvflare": fedavg, "nvflare-sag": scatter_and_gather}


def main(system: str, folder: str) -> int:
    """Runs the job of this system in this folder."""
    job = FedJob(name=system, min_clients=NUM_CLIENTS)
    WORKFLOWS[system](job)
    job.to_server(Persistor(), id="persistor")
    job.to_server(Probe(system), id="probe")
    job.to_clients(ScriptRunner(script=str(SCRIPT), framework=FrameworkType.NUMPY))
    job.simulator_run(folder, n_clients=NUM_CLIENTS)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
