"""Ways to train and to show what was trained: what the attacks are mounted against."""

import dataclasses

from isthmus.federation import PrivacyPolicy, TrainingPlan
from silo_agent.privacy_budget import epsilon_of, spent_in

CLIP_NORM = 1.0
DELTA = 1e-3


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """One way.

    Attributes:
        epochs: Passes over the members.
        noise: noise_multiplier of DP-SGD; 0: plain training.
        silos: The attacker sees the mean of this many silos' deltas; its first `targets` are attacked.
        targets: Silos whose members are attacked.
    """

    epochs: int = 1
    noise: float = 0.0
    silos: int = 1
    targets: int = 2


ARMS: dict[str, Arm] = {
    "one silo, 1 epoch": Arm(),
    "one silo, 4 epochs": Arm(epochs=4),
    "mean of 2 silos, 4 epochs": Arm(epochs=4, silos=2),
    "mean of 4 silos, 4 epochs": Arm(epochs=4, silos=4),
    "DP-SGD, noise 0.3, 4 epochs": Arm(epochs=4, noise=0.3, targets=1),
    "DP-SGD, noise 1, 4 epochs": Arm(epochs=4, noise=1.0, targets=1),
}


def planned_for(arm: Arm, plan: TrainingPlan) -> TrainingPlan:
    """The demo's plan with the arm's epochs and privacy."""
    if not arm.noise:
        return plan.model_copy(update={"local_epochs": arm.epochs})
    privacy = PrivacyPolicy(clip_norm=CLIP_NORM, noise_multiplier=arm.noise, epsilon=100.0, delta=DELTA)
    return plan.model_copy(update={"local_epochs": arm.epochs, "privacy": privacy})


def epsilon(plan: TrainingPlan, *, num_samples: int) -> float:
    """What one round by this plan spends, at DELTA; infinite without privacy."""
    if plan.privacy is None:
        return float("inf")
    return epsilon_of([spent_in(1, plan, plan.privacy, num_samples=num_samples)], delta=DELTA)
