"""The staleness discount of buffered mode: a step before any rule."""

from collections.abc import Sequence

import numpy as np

from aggregator.blocks import RosterBlocks
from aggregator.mixing import scaled


def discounted(roster: RosterBlocks, staleness: Sequence[int], *, exponent: float) -> RosterBlocks:
    """The roster with each delta of staleness s scaled by (1 + s) ** -exponent.

    Each factor is rounded from float64 to float32 once; products are float32, elementwise. A delta of staleness 0, and
    a roster of these alone, stay bit for bit what they are.

    Args:
        roster: As it was pushed.
        staleness: Of each delta, in roster order; at least 0. Empty: all 0.
        exponent: At least 0; 0 changes nothing.

    Source:
        Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022 (arXiv 2106.06639),
        section 5: s(tau) = 1 / sqrt(1 + tau), which is exponent 0.5. Deviation: the paper averages the scaled deltas
        alike; here the rule that follows weights them as it weights any (the mean: by num_examples).
    """
    factors = [np.float32((1.0 + rounds) ** -exponent) for rounds in staleness]
    return scaled(roster, factors)
