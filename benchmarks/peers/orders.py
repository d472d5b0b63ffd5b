"""The same four messages with the bad one looked at first or last: what is added to what decides about shapes."""

from benchmarks.peers.inputs import (
    NUM_CLIENTS,
    NUM_EXAMPLES,
    Input,
    Tensors,
    honest_delta,
    hostile_model,
    model_of,
)

ORDERS = ("last", "first")

Sent = tuple[int, Tensors, int]
"""A client's number, its whole model, its weight."""


def in_order(given: Input, order: str) -> list[Sent]:
    """What the four clients send."""
    honest: list[Sent] = [(client, model_of(honest_delta(client)), NUM_EXAMPLES) for client in range(NUM_CLIENTS - 1)]
    bad = (NUM_CLIENTS - 1, hostile_model(given), given.num_examples)
    return [*honest, bad] if order == "last" else [bad, *honest]
