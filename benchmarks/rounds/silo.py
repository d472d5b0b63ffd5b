"""One silo of ours: the SDK's own loop, and an addition in place of training. `benchmarks.rounds.ours` starts it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.rounds.marks import mark
from isthmus import ErrorFeedback, SiloClient

STEP = 1e-5


def main(arguments: Sequence[str]) -> int:
    """NAME ADDRESS FEDERATION CREDENTIALS: takes part in every round, and marks what happened when."""
    name, address, federation, credentials = arguments
    number = 0
    with SiloClient(address, federation=federation, credentials=credentials) as hub:
        for round in hub.rounds():
            number = round.number
            mark("open", round=number, silo=name)
            projector = hub.pull(round)
            mark("pulled", round=number, silo=name)
            feedback = ErrorFeedback(Path(credentials).with_suffix("")) if round.error_feedback else None
            hub.push(round, trained(projector, silo=name, number=round.number), num_examples=100, feedback=feedback)
            mark("pushed", round=number, silo=name)
    mark("open", round=number + 1, silo=name)
    return 0


def trained(projector: dict[str, torch.Tensor], *, silo: str, number: int) -> dict[str, torch.Tensor]:
    """What stands for training: one pass, in place. One value tells each silo's and round's delta from all others.

    They differ in any encoding, also where it has few digits.
    """
    place = 64 * number + int(silo.rpartition("-")[2])
    next(iter(projector.values())).view(-1)[place] += 8 * STEP
    return {name: tensor.add_(STEP) for name, tensor in projector.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
