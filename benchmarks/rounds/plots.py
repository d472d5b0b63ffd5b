"""Plots over the number of silos: seconds, the server's CPU, the server's peak memory."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from benchmarks.rounds.compared import OURS, Spread, Sweep, of_all, spread, walls
from benchmarks.rounds.measured import Measured

_COLOURS = {
    "ours": "#1b6ca8",
    "ours_bf16": "#4f94cd",
    "ours_int8": "#8ab8dd",
    "ours_top_k": "#b9d5ea",
    "naive": "#7a7a7a",
    "flower": "#d9822b",
    "nvflare": "#5a9e3d",
    "limits": "#111111",
}
_NAMES = {
    "ours": "Isthmus",
    "ours_bf16": "Isthmus, bf16",
    "ours_int8": "Isthmus, int8",
    "ours_top_k": "Isthmus, top-k",
    "naive": "naive gRPC",
    "flower": "Flower",
    "nvflare": "NVFlare",
    "limits": "machine's limits",
}


def plot(sweeps: Sequence[Sweep], *, folder: Path) -> None:
    """Writes wall.png, server_cpu.png and server_memory.png; both axes logarithmic, bars from least to largest."""
    wall, cpu, memory = (folder / f"{name}.png" for name in ("wall", "server_cpu", "server_memory"))
    _figure(sweeps, "Seconds per round", file=wall, of=walls, limit=_total)
    _figure(sweeps, "Server CPU, seconds per round", file=cpu, of=_over(lambda one: one.server_cpu_seconds))
    _figure(sweeps, "Server peak memory, MiB", file=memory, of=_over(lambda one: one.peak_mib))


_Of = Callable[[Sequence[Sweep], str, int], Spread]


def _over(number: Callable[[Measured], float]) -> _Of:
    return lambda sweeps, system, silos: spread([number(one) for one in of_all(sweeps, system, silos)])


def _total(sweep: Sweep, silos: int) -> float:
    limit = sweep.limit(silos)
    return limit.total if limit else float("nan")


def _figure(
    sweeps: Sequence[Sweep], title: str, *, file: Path, of: _Of, limit: Callable[[Sweep, int], float] | None = None
) -> None:
    systems = list(dict.fromkeys(one.system for sweep in sweeps for one in sweep.systems))
    numbers = sorted({one.silos for sweep in sweeps for one in sweep.systems})
    if not numbers:
        return
    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    for system in systems:
        _line(axes, system, {n: value for n in numbers if (value := of(sweeps, system, n))})
    if limit is not None:
        _line(axes, "limits", {n: value for n in numbers if (value := spread([limit(one, n) for one in sweeps]))})
    _dress(axes, title, numbers)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _line(axes: Axes, system: str, points: dict[int, Spread]) -> None:
    """One system's medians with bars from least to largest."""
    if not points:
        return
    numbers, medians = list(points), [value.median for value in points.values()]
    below = [value.median - value.least for value in points.values()]
    above = [value.largest - value.median for value in points.values()]
    dotted = ":" if system == "limits" else "-"
    width = 2.4 if system == OURS else 1.5
    axes.errorbar(
        numbers, medians, [below, above], color=_COLOURS[system], linestyle=dotted, linewidth=width, marker="o",
        markersize=4, capsize=3, elinewidth=1, label=_NAMES[system],
    )  # fmt: skip


def _dress(axes: Axes, title: str, numbers: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(numbers[0] / 1.2, numbers[-1] * 1.2)
    axes.set_xlabel("silos")
    axes.set_title(title, loc="left", fontweight="bold")
    axes.grid(visible=True, axis="y", which="both", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
