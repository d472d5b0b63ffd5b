"""Flower's ClientApp of the running federation: honest, but for the last client."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.peers.inputs import INPUTS, NUM_CLIENTS, NUM_EXAMPLES, honest_delta, hostile_model, model_of

app = ClientApp()


@app.train()
def train(asked: Message, context: Context) -> Message:
    """Sends what this client sends when the bad one sends the input asked for."""
    given = next(one for one in INPUTS if one.name == asked.content["config"]["input"])
    client = int(context.node_config["client"])
    is_bad = client == NUM_CLIENTS - 1
    tensors = hostile_model(given) if is_bad else model_of(honest_delta(client))
    arrays = ArrayRecord({name: Array(np.ascontiguousarray(tensor)) for name, tensor in tensors.items()})
    weight = MetricRecord({"num-examples": given.num_examples if is_bad else NUM_EXAMPLES})
    return Message(RecordDict({"arrays": arrays, "metrics": weight}), reply_to=asked)
