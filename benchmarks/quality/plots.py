"""Pictures of the tables: courses of the held-out loss, differences from FedAvg, and attacks against rules."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from benchmarks.quality import siege_report
from benchmarks.quality.attacks import ATTACKS
from benchmarks.quality.methods import ALONE, FEDAVG, METHODS, POOLED
from benchmarks.quality.report import Results, Setting, finals, from_other, methods_in, of, settings_in
from benchmarks.quality.siege import NUM_SILOS

_FEDAVG_COLOUR, _BETTER, _WORSE, _NEITHER = "#111111", "#2c7d3f", "#b3402a", "#8a8a8a"


def plot(results: Results, *, folder: Path) -> None:
    """Writes courses.png and differences.png."""
    _panels(results, _courses, file=folder / "courses.png")
    _panels(results, _differences, file=folder / "differences.png")


def _panels(results: Results, draw: object, *, file: Path) -> None:
    settings = settings_in(results)
    columns = min(4, len(settings))
    lines = -(-len(settings) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(4.0 * columns, 3.5 * lines), layout="constrained", squeeze=False
    )
    for axes, setting in zip(grid.flat, settings, strict=False):
        draw(axes, results, setting)  # type: ignore[operator]  # one of the two below
        axes.set_title(", ".join(setting).replace("_", " "), loc="left", fontsize=10, fontweight="bold")
        _dress(axes)
    for axes in list(grid.flat)[len(settings) :]:
        axes.set_visible(False)
    if draw is _courses:
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2 * columns, frameon=False, fontsize=9)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def _courses(axes: Axes, results: Results, setting: Setting) -> None:
    """Mean loss by round; alone and pooled as level lines of their last loss."""
    colours = pyplot.get_cmap("tab10")
    for number, name in enumerate(methods_in(results)):
        found = of(results, setting, name)
        if not found:
            continue
        if name in (ALONE, POOLED):
            level = float(np.mean(list(finals(results, setting, name).values())))
            axes.axhline(level, color="#555555", linestyle=":" if name == ALONE else "--", label=METHODS[name].title)
            continue
        length = min(len(result["losses"]) for result in found.values())
        means = np.mean([result["losses"][:length] for result in found.values()], axis=0)[1:]
        is_fedavg = name == FEDAVG
        axes.plot(
            range(1, length),
            means,
            color=_FEDAVG_COLOUR if is_fedavg else colours(number % 10),
            linestyle="-" if number < 10 else (0, (3, 1)),
            linewidth=2.4 if is_fedavg else 1.3,
            label=METHODS[name].title,
        )
    axes.set_xlabel("round")
    axes.set_ylabel("held-out loss, nats per token")


def _differences(axes: Axes, results: Results, setting: Setting) -> None:
    """Each method's last loss less FedAvg's, with the 95 % interval over seeds."""
    names = [name for name in methods_in(results) if name not in (ALONE, POOLED, FEDAVG)]
    names = [name for name in names if of(results, setting, name)]
    for place, name in enumerate(reversed(names)):
        apart = from_other(results, setting, name)
        if apart is None:
            continue
        colour = _BETTER if apart.is_better else _WORSE if apart.is_worse else _NEITHER
        half = apart.half if np.isfinite(apart.half) else 0.0
        axes.errorbar(apart.mean, place, xerr=half, color=colour, marker="o", markersize=4, capsize=3)
    axes.axvline(0.0, color=_FEDAVG_COLOUR, linewidth=1.0)
    axes.set_yticks(range(len(names)), [METHODS[name].title for name in reversed(names)])
    axes.set_xlabel("loss minus FedAvg's")


def plot_attacks(results: siege_report.Results, *, file: Path) -> None:
    """What is not learned, as colours: white where half is not, red where nothing is."""
    rows, names = siege_report.rows_in(results), siege_report.defences_in(results)
    found = [[siege_report.lost(results, row, name) for name in names] for row in rows]
    values = np.array([[np.nan if one is None else one for one in row] for row in found])
    figure, axes = pyplot.subplots(figsize=(1.5 + 0.85 * len(names), 1.6 + 0.32 * len(rows)), layout="constrained")
    axes.imshow(values, cmap="RdBu_r", norm=TwoSlopeNorm(0.5, -0.1, 1.1), aspect="auto")
    for y, x in np.argwhere(np.isfinite(values)):
        axes.text(x, y, f"{values[y, x]:.0%}", ha="center", va="center", fontsize=7)
    titles = {one.defence: one.method.title for one in results}
    axes.set_xticks(range(len(names)), [titles[name] for name in names], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [_row(*row) for row in rows])
    axes.set_title("Not learned of what the mean learns unharmed", loc="left", fontweight="bold", fontsize=10)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def _row(attack: str, number: int) -> str:
    title = ATTACKS[attack].title if attack in ATTACKS else "none"
    return f"{title} {100 * number // NUM_SILOS} %"


def _dress(axes: Axes) -> None:
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
