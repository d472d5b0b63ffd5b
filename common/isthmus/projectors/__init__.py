"""The projectors that Isthmus can build itself, by name.

A new kind is one file with a `build(options) -> nn.Module` and one line in `PROJECTORS`. Its contract:

1. The same options give the same tensor names and shapes: the spec is that of `state_dict()`, all float32.
2. The same options and seed give the same values, and building leaves torch's global random state as it was.
3. An option that is unknown, missing or out of range raises FederationInvalid naming it.
4. The module maps features [..., in_features] to embeddings [..., out_features].
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from isthmus.errors import FederationInvalid
from isthmus.projectors import mlp

PROJECTORS: dict[str, Callable[[Mapping[str, int]], nn.Module]] = {
    "mlp": mlp.build,
}


def build_projector(kind: str, options: Mapping[str, int], *, seed: int = 0) -> nn.Module:
    """A projector of the kind with these options, freshly initialised from the seed: float32, on the CPU.

    Raises:
        FederationInvalid: The kind is unknown, or an option is unknown, missing or out of range.
    """
    if kind not in PROJECTORS:
        raise FederationInvalid(
            f"projector.kind: {kind!r} is not a kind of projector; known are {', '.join(PROJECTORS)}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PROJECTORS[kind](options).to(torch.float32)
