"""What every SuperNode runs: the arrays come, a constant is added, they go back."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.rounds.work import trained

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round at one silo."""
    projector = {name: array.numpy() for name, array in message.content["arrays"].items()}
    local = trained(projector, silo=str(context.node_config["silo"]))
    arrays = ArrayRecord({name: Array(tensor) for name, tensor in local.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 100})})
    return Message(content=content, reply_to=message)
