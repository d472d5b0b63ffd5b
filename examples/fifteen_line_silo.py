"""A silo in fifteen lines: its "training" moves every value a little towards zero. Put yours in its place."""

import random
import sys

from isthmus import SiloClient


def train(projector, plan):
    factor = random.uniform(0.98, 0.99)
    return {name: tensor * factor for name, tensor in projector.items()}, 100


with SiloClient(sys.argv[1], federation=sys.argv[2], credentials=sys.argv[3]) as hub:
    for round in hub.rounds():
        projector = hub.pull(round)  # dict[str, torch.Tensor]
        local, num_examples = train(projector, round.plan)
        hub.push(round, local, num_examples=num_examples)
