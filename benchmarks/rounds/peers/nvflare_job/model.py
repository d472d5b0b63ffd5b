"""The projector as NVFlare wants it; runs in NVFlare's own environment."""

import torch
from torch import nn

from benchmarks.rounds.work import projector, shapes, widths_of_environment


class Projector(nn.Module):
    """Linear, GELU, Linear, with the tensors that everybody starts from."""

    def __init__(self) -> None:
        super().__init__()
        widths = widths_of_environment()
        layers = shapes(widths)
        self.linear_1 = nn.Linear(*reversed(layers["linear_1.weight"]))
        self.linear_2 = nn.Linear(*reversed(layers["linear_2.weight"]))
        self.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in projector(widths).items()})
