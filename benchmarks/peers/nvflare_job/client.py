"""NVFlare's training script: in each round it sends what belongs to that round, whatever global it was given."""

import time

import nvflare.client as flare

from benchmarks.peers.inputs import NUM_CLIENTS, NUM_EXAMPLES, honest_delta, hostile_model, model_of
from benchmarks.peers.nvflare_job.rounds import of_round

LATE_SECONDS = 2.5
"""Longer than the 2 s within which every client has asked for its task: this decides who comes last."""


def main() -> None:
    """Goes on until the job is over."""
    flare.init()
    client = int(flare.get_site_name().rpartition("-")[2]) - 1
    is_bad = client == NUM_CLIENTS - 1
    while flare.is_running() and (received := flare.receive()) is not None:
        given, order = of_round(received.current_round)
        if is_bad == (order == "last"):
            time.sleep(LATE_SECONDS)
        tensors = hostile_model(given) if is_bad else model_of(honest_delta(client))
        meta = {"NUM_STEPS_CURRENT_ROUND": given.num_examples if is_bad else NUM_EXAMPLES}
        flare.send(flare.FLModel(params=tensors, meta=meta))


main()
