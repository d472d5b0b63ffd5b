"""What a silo demands of an aggregator beyond what everybody does: [policy] of its settings. Decides alone.

Everything is allowed by default. What is refused is `AggregatorUntrusted`: the round is not trained, nothing is sent.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from isthmus.errors import AggregatorUntrusted
from isthmus.federation import Name
from isthmus.round import Round
from isthmus.secure_aggregation.keys import LEAST_MEMBERS


class Policy(BaseModel):
    """This silo's own limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_quorum: int = Field(default=0, ge=0)
    """Take part in no round that may be cut with fewer contributions: a mean of two tells each what the other sent."""
    max_epsilon: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Take part in no round without record-level privacy, or whose plan may spend more than this; absent: in any."""
    secure_aggregation: Literal["any", "demanded"] = "any"
    """Whether this silo takes part in no round in which the aggregator sees its delta."""
    min_roster: int = Field(default=LEAST_MEMBERS, ge=LEAST_MEMBERS)
    """Mask for no key roster of fewer silos."""
    members: dict[Name, Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]] | None = None
    """Who may stand in a key roster, each with its signing key in hex ("": any); absent: whoever is enrolled."""
    max_change: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """How far, as an L2 norm, the global projector may have moved per round since the last one seen; absent: any."""


def require_quorum(current: Round, *, policy: Policy) -> None:
    """Checks that enough silos hide each other.

    Raises:
        AggregatorUntrusted: The round may be cut with fewer than the policy says.
    """
    if current.quorum < policy.min_quorum:
        raise AggregatorUntrusted(
            f"Round {current.number} of {current.federation} may be cut with {current.quorum} contributions; this "
            f"silo's policy.min_quorum is {policy.min_quorum}. Ask the operator for a larger quorum, or lower it here.",
            check="quorum",
            measured=current.quorum,
            limit=policy.min_quorum,
        )


def require_privacy(current: Round, *, policy: Policy) -> None:
    """Checks that the plan protects this silo's samples as far as the silo wants.

    Raises:
        AggregatorUntrusted: It has no privacy, or a larger budget than the policy allows.
    """
    privacy = current.plan.privacy
    if policy.max_epsilon is None or (privacy and privacy.epsilon <= policy.max_epsilon):
        return
    asked = f"a privacy budget of epsilon {privacy.epsilon:g}" if privacy else "no privacy"
    raise AggregatorUntrusted(
        f"The plan of round {current.number} of {current.federation} has {asked}; this silo's policy.max_epsilon is "
        f"{policy.max_epsilon:g}. Ask the operator for a federation with plan.privacy, or change it here.",
        check="epsilon",
        measured=privacy.epsilon if privacy else "none",
        limit=policy.max_epsilon,
    )


def require_masks(current: Round, *, policy: Policy) -> None:
    """Checks that the aggregator sees no delta of this silo, where the silo demands that.

    Raises:
        AggregatorUntrusted: It would.
    """
    if policy.secure_aggregation == "demanded" and current.masks is None:
        raise AggregatorUntrusted(
            f"Round {current.number} of {current.federation} has no secure aggregation, and this silo's "
            "policy.secure_aggregation demands it. Ask the operator for a federation with secure_aggregation, or "
            "change it here.",
            check="secure_aggregation",
            measured="none",
            limit="demanded",
        )


def require_change(l2_norm: float, *, current: Round, num_rounds: int, policy: Policy) -> None:
    """Checks that the global projector did not jump.

    Args:
        l2_norm: Of the difference between the projector that the round starts from and the last one seen.
        current: The round.
        num_rounds: How many rounds lie between the two.
        policy: The silo's.

    Raises:
        AggregatorUntrusted: It moved further than the policy allows for so many rounds.
    """
    if policy.max_change is not None and l2_norm > policy.max_change * num_rounds:
        raise AggregatorUntrusted(
            f"Projector {current.number - 1} of {current.federation} lies {l2_norm:.6g} (L2) from the last one that "
            f"this silo saw, {num_rounds} rounds before; its policy.max_change allows {policy.max_change:g} a round. "
            "Ask the operator what happened in those rounds, or raise it here.",
            check="change",
            measured=f"{l2_norm:.6g}",
            limit=f"{policy.max_change * num_rounds:.6g}",
        )
