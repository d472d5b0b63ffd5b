"""What an operator fixes of secure aggregation when a federation is created, and everything that it excludes.

The aggregator sees no single delta. So whatever looks at one, or weighs one against another, cannot be had beside it.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from isthmus.contribution import Encoding
from isthmus.secure_aggregation.keys import LEAST_MEMBERS
from isthmus.secure_aggregation.ring import LEAST_BITS, ROOM_BITS, fitting_bits
from isthmus.tables import Table

if TYPE_CHECKING:  # that module has a field of this type
    from isthmus.federation import Federation

MAX_WEIGHT = 1024
"""Of one silo: weights are public, and cost the values' bits."""


class SecureAggregationPolicy(Table):
    """Experimental: the aggregator learns the sum of a round's deltas, and no single one."""

    clip: float = Field(gt=0.0, le=1e6, allow_inf_nan=False)
    """Every value of a delta is cut to within plus and minus this, inside the silo."""
    bits: int = Field(default=24, ge=LEAST_BITS, le=ROOM_BITS - 1)
    """Of a value in the sum; fewer where the sum of the weights leaves fewer of 31."""
    min_silos: int = Field(default=5, ge=LEAST_MEMBERS, le=10_000)
    """No sum of fewer silos: the quorum must be at least this. Below 5 each silo hides among very few."""
    max_mean_l2_norm: float = Field(default=100.0, gt=0.0, allow_inf_nan=False)
    """Largest L2 norm of the opened mean; beyond it the round changes nothing."""
    upload_seconds: float = Field(default=3600.0, gt=0.0, le=30 * 86_400.0)
    """After the key roster is fixed; a silo whose vector is not in by then ends the round without a change."""


def flaw(federation: "Federation") -> str:
    """The first thing that a federation asks for and secure aggregation excludes, and why; "": nothing."""
    policy, strategy = federation.secure_aggregation, federation.strategy
    if policy is None:
        return (
            'encoding = "ring32" is that of masked deltas alone: it needs the table secure_aggregation'
            if federation.encoding is Encoding.RING32
            else ""
        )
    wrong = [
        (
            federation.encoding is not Encoding.RING32,
            'encoding must be "ring32": masks cancel in whole numbers modulo 2^32 and in no floating-point encoding',
        ),
        (federation.error_feedback is True, "error_feedback must be left out: the ring loses half a step of the sum"),
        (
            strategy.rule.name != "mean",
            f'strategy.rule "{strategy.rule.name[:64]}" looks at single deltas; only "mean" can be had of a sum',
        ),
        (bool(strategy.pre_steps), "strategy.pre_steps must be empty: each of them looks at single deltas"),
        (
            federation.participation.max_staleness > 0,
            "participation.max_staleness must be 0: masks cancel among the silos of one round alone",
        ),
        (
            bool({"max_l2_norm", "max_tensor_l2_norm"} & federation.admission.model_fields_set),
            "admission.max_l2_norm and max_tensor_l2_norm must be left out: no norm of a single delta can be measured; "
            "secure_aggregation.max_mean_l2_norm limits that of their mean",
        ),
        (
            federation.evaluation.gate is not None,
            "evaluation.gate must be left out: it goes back to a projector from which silos revealed a sum already, "
            "and they reveal one of each projector",
        ),
        *_numbers(federation, policy),
    ]
    return next((f"with secure_aggregation, {words}" for holds, words in wrong if holds), "")


def _numbers(federation: "Federation", policy: SecureAggregationPolicy) -> list[tuple[bool, str]]:
    silos, weight = federation.participation.silos, federation.admission.max_num_examples
    bits = fitting_bits(policy.bits, total_weight=silos.max * weight)
    return [
        (
            silos.min < policy.min_silos,
            f"participation.silos.min ({silos.min}) must be at least secure_aggregation.min_silos "
            f"({policy.min_silos}; {LEAST_MEMBERS} is the least that can be written there)",
        ),
        (
            weight > MAX_WEIGHT,
            f"admission.max_num_examples must be 1, for equal weights, or at most {MAX_WEIGHT}, not {weight}: "
            "weights are public, and cost the values' bits",
        ),
        (
            bits < LEAST_BITS,
            f"participation.silos.max ({silos.max}) times admission.max_num_examples ({weight}) leaves {bits} bits of "
            f"a value; at least {LEAST_BITS} are needed",
        ),
    ]
