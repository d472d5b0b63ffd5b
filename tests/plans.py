"""Training plans for tests."""

from isthmus.federation import TrainingPlan

PLAN = TrainingPlan(
    local_epochs=1,
    local_steps=0,
    batch_size=4,
    optimizer="adamw",
    learning_rate=0.01,
    final_learning_rate=0.005,
    weight_decay=0.0,
    gradient_clip_norm=1.0,
    fedprox_mu=0.0,
    one_pass=False,
    seed=7,
    settings={},
)
"""One epoch in batches of four."""


def plan_with(**changes: object) -> TrainingPlan:
    """`PLAN` with some keys changed."""
    return PLAN.model_copy(update=changes)
