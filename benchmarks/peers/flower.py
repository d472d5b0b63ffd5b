"""Feeds every input to Flower's two default strategies, in Flower's own environment; one line of JSON each.

Each message goes through Flower's own wire form before it is aggregated.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.common import FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays, serde
from flwr.common.typing import Code
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.logger import FLOWER_LOGGER as LOGGER
from flwr.supercore.task_identity import TaskIdentity

from benchmarks.peers.inputs import INPUTS, SHAPES, Input, Tensors
from benchmarks.peers.orders import ORDERS, Sent, in_order
from benchmarks.peers.outcomes import line_of, outcome_of

Strategy = Callable[[list[Sent]], Tensors]


def aggregate_train(sent: list[Sent]) -> Tensors:
    """`flwr.serverapp.strategy.FedAvg`, as `flwr new` writes it into new projects."""
    strategy = FedAvg(fraction_evaluate=0.0)
    arrays, _ = strategy.aggregate_train(1, [reply_of(*one) for one in sent])
    assert arrays is not None
    return {name: array.numpy() for name, array in arrays.items()}


def reply_of(client: int, tensors: Tensors, num_examples: int) -> Message:
    """A client's reply to a train message, there and back through its wire form."""
    asked = Message(RecordDict(), dst_node_id=client + 1, message_type="train")
    arrays = ArrayRecord({name: Array(np.ascontiguousarray(tensor)) for name, tensor in tensors.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": num_examples})})
    wire = serde.recorddict_from_proto(serde.recorddict_to_proto(content))
    return Message(wire, reply_to=asked)


def aggregate_fit(sent: list[Sent]) -> Tensors:
    """`flwr.server.strategy.FedAvg`, of `flwr.server.start_server`: tensors have places there, not names."""
    results = [(None, fit_res_of(tensors, num_examples)) for _, tensors, num_examples in sent]
    parameters, _ = LegacyFedAvg().aggregate_fit(1, results, [])  # type: ignore[arg-type]  # it reads no proxy
    assert parameters is not None
    arrays = parameters_to_ndarrays(parameters)
    names = [*SHAPES, *(f"extra {place}" for place in range(len(SHAPES), len(arrays)))]
    return dict(zip(names, arrays, strict=False))


def fit_res_of(tensors: Tensors, num_examples: int) -> FitRes:
    """A client's result, there and back through its wire form."""
    parameters = ndarrays_to_parameters(list(tensors.values()))
    result = FitRes(Status(Code.OK, ""), parameters, num_examples, {})
    return serde.fit_res_from_proto(serde.fit_res_to_proto(result))


@contextmanager
def heard() -> Iterator[list[str]]:
    """What Flower writes into its log meanwhile."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage().strip())  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    yield said
    LOGGER.removeHandler(handler)


def feed(given: Input, *, system: str, strategy: Strategy, order: str) -> str:
    """One round."""
    with heard() as said:
        try:
            aggregate = strategy(in_order(given, order))
            counted, words = True, said_of(said)
        except Exception as error:  # whatever it raises ends the run there: this is what is measured
            aggregate, counted, words = None, False, f"{type(error).__name__}: {error}"
    return line_of(outcome_of(given, system=system, order=order, counted=counted, words=words, aggregate=aggregate))


def said_of(said: Sequence[str]) -> str:
    """What Flower says of the replies; the rest of its log is about metrics and settings."""
    return next((line for line in said if line.startswith("aggregate_train")), "nothing")


def main() -> int:
    """Feeds everything, and writes into the file that ISTHMUS_OUTCOMES names."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1  # a message names who sends it
    with Path(os.environ["ISTHMUS_OUTCOMES"]).open("w", encoding="utf-8") as lines:
        for system, strategy in (("flower", aggregate_train), ("flower-legacy", aggregate_fit)):
            for given in INPUTS:
                for order in ORDERS:
                    print(feed(given, system=system, strategy=strategy, order=order), file=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
