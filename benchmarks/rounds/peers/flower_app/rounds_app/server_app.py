"""What the SuperLink runs: Flower's FedAvg over all silos, and a mark when a round's arrays are there."""

from collections.abc import Iterable

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.rounds.marks import mark
from benchmarks.rounds.work import projector, widths_of_environment

app = ServerApp()


class Marked(FedAvg):
    """FedAvg that says when it has aggregated."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedAvg does."""
        aggregated = super().aggregate_train(server_round, replies)
        if aggregated[0] is not None:
            mark("published", round=server_round)
        return aggregated


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds."""
    silos = int(context.run_config["silos"])
    strategy = Marked(
        fraction_train=1.0,
        fraction_evaluate=0.0,
        min_train_nodes=silos,
        min_evaluate_nodes=0,
        min_available_nodes=silos,
    )
    initial = ArrayRecord({name: Array(tensor) for name, tensor in projector(widths_of_environment()).items()})
    strategy.start(grid=grid, initial_arrays=initial, num_rounds=int(context.run_config["rounds"]), timeout=600.0)
