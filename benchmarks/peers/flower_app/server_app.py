"""Flower's ServerApp of the running federation: one run of `FedAvg` as it comes per input, one line of JSON each."""

import os
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.peers.flower import heard, said_of
from benchmarks.peers.inputs import INPUTS, NUM_CLIENTS, Input, global_tensors
from benchmarks.peers.outcomes import line_of, outcome_of

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One round per input, each from the same global."""
    with Path(os.environ["ISTHMUS_OUTCOMES"]).open("a", encoding="utf-8") as lines:
        for given in INPUTS:
            print(one_round(grid, given), file=lines, flush=True)
        print("done", file=lines, flush=True)


def one_round(grid: Grid, given: Input) -> str:
    """What came of it."""
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=NUM_CLIENTS, min_available_nodes=NUM_CLIENTS)
    initial = ArrayRecord({name: Array(tensor) for name, tensor in global_tensors().items()})
    with heard() as said:
        try:
            result = strategy.start(grid, initial, num_rounds=1, train_config=ConfigRecord({"input": given.name}))
            aggregate = {name: array.numpy() for name, array in result.arrays.items()}
            counted, words = True, said_of(said)
        except Exception as error:  # whatever it raises ends the run there: this is what is measured
            aggregate, counted, words = None, False, f"{type(error).__name__}: {error}"
    return line_of(
        outcome_of(given, system="flower", order="running", counted=counted, words=words, aggregate=aggregate)
    )
