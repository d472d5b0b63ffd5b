"""What silos report of the global projector that they pulled: names, bounds, and a round's summary. Pure.

The reports of round n judge projector n-1: each silo evaluates what it pulled before it trains. They travel in the
signed header's metrics, and their summary in those of manifest n, under names that begin with `PREFIX`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

PREFIX = "held_out_"
"""Names of metrics that begin so are those of evaluation."""

LOSS = "held_out_loss"
"""Loss per caption token, in nats, of the pulled projector on samples that the silo never trains on."""

SAMPLES = "held_out_samples"
"""How many samples that was measured on."""

MAX_LOSS = 1e6
"""No larger loss is taken: a report must not push a mean out of all proportion."""

MAX_SAMPLES = 2**53
"""No more samples can be told by a double."""

BOUNDS = f"{LOSS} from 0 to {MAX_LOSS:g} together with {SAMPLES}, a whole number from 1 to 2^53"
"""What a report must be, in words."""

_MEDIAN, _Q1, _Q3 = f"{LOSS}.median", f"{LOSS}.q1", f"{LOSS}.q3"
_SILOS = "held_out_silos"
_CHANGE, _COMPARED = "held_out_change", "held_out_change.silos"


class Report(NamedTuple):
    """One silo's word of a projector: its loss, and the number of samples behind it."""

    loss: float
    num_samples: int


def flaw(metrics: Mapping[str, float]) -> str:
    """What is wrong with the report in a header's metrics, in words; empty where it is right, or there is none."""
    loss, samples = metrics.get(LOSS), metrics.get(SAMPLES)
    if loss is None:
        return "" if samples is None else f"{SAMPLES} without {LOSS}"
    if samples is None:
        return f"{LOSS} without {SAMPLES}"
    if not 0.0 <= loss <= MAX_LOSS:
        return f"{LOSS} = {loss:g}"
    if not (1 <= samples <= MAX_SAMPLES and float(samples).is_integer()):
        return f"{SAMPLES} = {samples:g}"
    return ""


def report_in(metrics: Mapping[str, float]) -> Report | None:
    """The report in a header's metrics; None where there is none, or it is out of its bounds."""
    if LOSS not in metrics or flaw(metrics):
        return None
    return Report(float(metrics[LOSS]), int(metrics[SAMPLES]))


@dataclass(frozen=True, slots=True)
class Summary:
    """What the silos of round n report of projector n-1.

    Attributes:
        mean: Of the losses, weighted by samples; no silo counts for more than the federation's `max_samples`.
        q1: A quarter of the silos report at most this.
        median: Half of them do.
        q3: Three quarters do.
        num_silos: How many silos reported.
        num_samples: Sum of the weights.
        change: The median silo's relative rise of the loss, from the projector that projector n-1 was made from; None
            where the federation has no gate, or nobody reported both times.
        num_compared: How many silos reported both times.
    """

    mean: float
    q1: float
    median: float
    q3: float
    num_silos: int
    num_samples: int
    change: float | None = None
    num_compared: int = 0

    def to_metrics(self) -> dict[str, float]:
        """As a manifest's metrics."""
        told = {
            LOSS: self.mean,
            _Q1: self.q1,
            _MEDIAN: self.median,
            _Q3: self.q3,
            _SILOS: float(self.num_silos),
            SAMPLES: float(self.num_samples),
        }
        return told if self.change is None else told | {_CHANGE: self.change, _COMPARED: float(self.num_compared)}


def summary_in(metrics: Mapping[str, float]) -> Summary | None:
    """The summary in a manifest's metrics; None where no silo reported."""
    if not {LOSS, _Q1, _MEDIAN, _Q3, _SILOS, SAMPLES} <= metrics.keys():
        return None
    return Summary(
        mean=metrics[LOSS],
        q1=metrics[_Q1],
        median=metrics[_MEDIAN],
        q3=metrics[_Q3],
        num_silos=int(metrics[_SILOS]),
        num_samples=int(metrics[SAMPLES]),
        change=metrics.get(_CHANGE),
        num_compared=int(metrics.get(_COMPARED, 0)),
    )
