"""One picture: what was measured, and the models' lines up to as many silos as are modelled."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, StrMethodFormatter

from benchmarks.simulate.costs import FAR, Cost
from benchmarks.simulate.measured import Row

_PANELS = {
    "Replica's CPU, seconds": {
        "enrolment of all, CPU s": "enrolment of all",
        "pull of all, CPU s": "a round: pull",
        "push of all, cut, publication, CPU s": "a round: push, cut, publication",
        "notice of the next round, CPU s": "a round: notice",
    },
    "Store, per round": {
        "reads in a round": "reads",
        "writes in a round": "writes",
        "keys listed in a round": "keys listed",
    },
    "One replica": {
        "replica's peak, MiB": "peak MiB",
        "replica's threads": "threads",
        "replica's descriptors": "descriptors",
    },
}
_COLOURS = ("#1b6ca8", "#d9822b", "#5a9e3d", "#7a7a7a")


def plot(rows: Sequence[Row], found: dict[str, Cost], *, file: Path) -> None:
    """Points are measured, lines are the models, dotted ones those without a square; both axes logarithmic."""
    figure, panels = pyplot.subplots(1, len(_PANELS), figsize=(13.5, 4.4), layout="constrained")
    numbers = sorted({row.silos for row in rows})
    for axes, (title, lines) in zip(panels, _PANELS.items(), strict=True):
        for colour, (name, label) in zip(_COLOURS, lines.items(), strict=False):
            _line(axes, found[name], label=label, colour=colour)
        _dress(axes, title, [*numbers, FAR])
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _line(axes: Axes, cost: Cost, *, label: str, colour: str) -> None:
    silos = np.geomspace(cost.points[0][0], FAR, 60)
    values = [cost.model.at(float(number)) for number in silos]
    straight = [cost.straight.at(float(number)) for number in silos]
    if max(values) <= 0:
        return
    axes.plot(silos, values, color=colour, linewidth=1.5, label=label)
    axes.plot(silos, straight, color=colour, linewidth=1.0, linestyle=":")
    measured = [(number, value) for number, value in cost.points if value > 0]
    axes.plot(*zip(*measured, strict=True), color=colour, marker="o", markersize=4, linestyle="none")


def _dress(axes: Axes, title: str, numbers: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers], rotation=45)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlabel("silos (points measured, lines modelled, dotted: straight)")
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(visible=True, axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper left", frameon=False)
