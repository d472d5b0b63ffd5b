"""Which round of the job has which input: every input twice, the bad client last and first."""

from benchmarks.peers.inputs import INPUTS, Input
from benchmarks.peers.orders import ORDERS

NUM_ROUNDS = len(INPUTS) * len(ORDERS)


def of_round(number: int) -> tuple[Input, str]:
    """The input of round `number`, counted from 0, and when the bad client is to send it."""
    return INPUTS[number // len(ORDERS)], ORDERS[number % len(ORDERS)]
