"""Norm clipping: no delta is longer than a limit."""

import numpy as np
from pydantic import Field

from aggregator.blocks import PreStep, RosterBlocks
from aggregator.gram import norms
from aggregator.mixing import scaled
from aggregator.options import Options


class NormClipOptions(Options):
    """What the limit is."""

    max_norm: float | None = Field(default=None, gt=0.0)
    """Largest L2 norm of a delta; absent: the median of the roster's norms."""


def build(options: NormClipOptions) -> PreStep:
    """The step with this limit."""

    def norm_clip(roster: RosterBlocks) -> RosterBlocks:
        """Each delta d becomes d min(1, limit / |d|); those within the limit stay bit for bit what they are.

        A pass of its own unless a step before has the products. Norms are off by some 2**-22 (`aggregator.gram`), and
        each factor is rounded from float64 to float32 once, so a clipped norm may lie that much above the limit. Of
        an even number of norms the lower of the two in the middle counts: it is one of honest silos, or below one,
        as long as these are the majority.

        Source:
            Sun et al., Can You Really Backdoor Federated Learning?, arXiv 1911.07963, section 4 (norm thresholding).
            Deviation: the limit may follow the roster, so that it needs no guess before the first round.
        """
        lengths = norms(roster)
        limit = options.max_norm or sorted(lengths)[(len(lengths) - 1) // 2]
        return scaled(roster, [np.float32(limit / length if length > limit else 1.0) for length in lengths])

    return norm_clip


def least_silos(options: NormClipOptions) -> int:
    """Three, where the median decides: the lower of two norms may be the hostile one, which then shrinks the other."""
    return 1 if options.max_norm else 3
