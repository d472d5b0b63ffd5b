"""What the attacks found, as Markdown, and how sure it is."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import logbook
from benchmarks.leakage.arms import DELTA
from benchmarks.leakage.attacks import ATTACKS
from benchmarks.leakage.silos import CONCEPTS


class Row(NamedTuple):
    """One delta under attack, aimed at one silo's members.

    Attributes:
        arm: How it was made.
        seed: Of pictures, projector and order.
        silo: Whose members.
        aucs: By attack.
        epsilon: Spent by the silo in the round, at DELTA.
        before: Mean loss of the silo's pictures that were not trained on, at the start.
        after: The same after the delta that the attacker sees.
        trained: Mean loss of the members after it.
    """

    arm: str
    seed: int
    silo: str
    aucs: dict[str, float]
    epsilon: float
    before: float
    after: float
    trained: float


def standard_error(auc: float, *, members: int, others: int) -> float:
    """Of an area under the ROC curve from so many independent members and others.

    Source: Hanley and McNeil, Radiology 143 (1982), eq. 1, with their Q1 and Q2 for exponential scores.
    """
    both_above, both_below = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (members - 1) * (both_above - auc * auc) + (others - 1) * (both_below - auc * auc)
    return math.sqrt(spread / (members * others))


def table(rows: Sequence[Row], *, command: str) -> str:
    """Means over silos and seeds; of the areas, with the standard deviation."""
    chance = standard_error(0.5, members=CONCEPTS, others=CONCEPTS)
    pairs = standard_error(0.5, members=CONCEPTS // 2, others=CONCEPTS // 2)
    lines = [
        f"`{command}`: the demo's encoder, language model and pictures; each silo trains on {CONCEPTS} pictures of "
        f"{CONCEPTS // 2} concepts of its topic, and {CONCEPTS} pictures of {CONCEPTS // 2} other concepts of it are "
        f"not trained on. One round from the initial projector. AUC: 0.5 tells nothing, 1 everything; mean and "
        f"standard deviation over deltas attacked ({len({row.seed for row in rows})} seeds). The standard error of one "
        f"of them at 0.5 is {chance:.2f} if pictures were independent, {pairs:.2f} if only concepts are. Loss: nats "
        f"per caption token after the delta that the attacker sees, of those trained on and of the others; before: "
        f"{statistics.mean(row.before for row in rows):.2f}. Epsilon at delta {DELTA:g}, of the one round. "
        f"{logbook.machine()}.",
        "",
        f"| what the attacker sees | deltas attacked | {' | '.join(f'AUC by {name}' for name in ATTACKS)} | epsilon "
        "| loss, trained on | loss, others |",
        f"|---|---|{'---|' * len(ATTACKS)}---|---|---|",
    ]
    return "\n".join([*lines, *(_line(arm, rows) for arm in dict.fromkeys(row.arm for row in rows))])


def _line(arm: str, rows: Sequence[Row]) -> str:
    mine = [row for row in rows if row.arm == arm]
    areas = " | ".join(_spread([row.aucs[name] for row in mine]) for name in ATTACKS)
    trained, after = statistics.mean(row.trained for row in mine), statistics.mean(row.after for row in mine)
    return f"| {arm} | {len(mine)} | {areas} | {mine[0].epsilon:.3g} | {trained:.2f} | {after:.2f} |"


def _spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} +-{deviation:.2f}"
