"""The report's figures, one function each: values in, the bytes of a PNG out.

Uses matplotlib's Agg canvas alone, without pyplot: no display, no global figure, no setting changed for others.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deploy.demo.findings import percent
from deploy.demo.report_values import Report

DPI = 200
FONT_SIZE = 10.5
SMALL = 9.5
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "alpha": 0.6, "shrinkA": 2, "shrinkB": 5, "relpos": (0, 0.5)}


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of one colour scheme, as hex; `heat` runs from a low loss (good) to a high one."""

    background: str
    ink: str
    faint: str
    grid: str
    federation: str
    alone: str
    pooled: str
    heat: tuple[str, ...]


LIGHT = Look(
    background="#ffffff",
    ink="#1d2733",
    faint="#5c6b7a",
    grid="#e3e8ed",
    federation="#0b6e8a",
    alone="#b5611d",
    pooled="#66717e",
    heat=("#54aac1", "#9fcfdb", "#e3eff2", "#f6e3d3", "#e3a878"),
)
DARK = Look(
    background="#18212b",
    ink="#e6ebf0",
    faint="#9dabb9",
    grid="#2c3946",
    federation="#4fc3dc",
    alone="#f0a263",
    pooled="#97a3b0",
    heat=("#17738c", "#1b5a6d", "#223e4a", "#4a3a31", "#8c5527"),
)

Plot = Callable[[Report, Look], bytes]


def loss_plot(report: Report, look: Look) -> bytes:
    """Held-out loss per round: the federation beside each silo alone and pooled training."""
    figure, axes = blank(look, width=5.6, height=3.6)
    ends = []
    for silo, course in report.alone.items():
        axes.plot(course.loss_by_round, color=look.alone, linewidth=1.3, marker="o", markersize=3, alpha=0.85)
        ends.append((course.loss_by_round[-1], f"{silo} alone", look.alone, "normal"))
    pooled, together = report.pooled.loss_by_round, report.federated.loss_by_round
    axes.plot(pooled, color=look.pooled, linewidth=1.6, linestyle=(0, (4, 2)))
    ends.append((pooled[-1], "pooled", look.pooled, "normal"))
    axes.plot(together, color=look.federation, linewidth=3, marker="o", markersize=6)
    ends.append((together[-1], "federation", look.federation, "bold"))
    last = max(len(course) for course in (together, pooled, *(c.loss_by_round for c in report.alone.values()))) - 1
    axes.set_xticks(range(last + 1), ["start", *map(str, range(1, last + 1))])
    axes.set_xlabel("round", color=look.faint)
    axes.set_ylabel("held-out loss per token (lower is better)", color=look.faint)
    axes.grid(axis="y", color=look.grid, linewidth=0.8)
    label_ends(axes, ends, x=last)
    return png(figure)


def label_ends(axes: Axes, ends: list[tuple[float, str, str, str]], *, x: float) -> None:
    """Names each line at its right end, (y, text, colour, weight), moved apart where names would overlap."""
    ends = sorted(ends)
    low, high = axes.get_ylim()
    heights = spread([y for y, *_ in ends], gap=0.062 * (high - low), low=low)
    axes.set_ylim(low, max(high, heights[-1] + 0.03 * (high - low)))
    for height, (y, text, colour, weight) in zip(heights, ends, strict=True):
        axes.annotate(
            f"{text}  {y:.2f}",
            xy=(x, y),
            xytext=(x + max(x, 1) * 0.05, height),
            color=colour,
            fontweight=weight,
            fontsize=SMALL,
            va="center",
            annotation_clip=False,
            parse_math=False,
            arrowprops=LEADER | {"color": colour},
        )


def spread(heights: Sequence[float], *, gap: float, low: float) -> list[float]:
    """Ascending heights moved as little as this simple way can so that neighbours are `gap` apart, none below `low`.

    Groups that touch are centred on the mean of what they name, as in isotonic regression by pooling neighbours.
    """
    groups: list[tuple[list[float], float]] = []
    for height in heights:
        members, start = [height], height
        while groups and groups[-1][1] + gap * len(groups[-1][0]) > start:
            members = groups.pop()[0] + members
            start = max(low, sum(members) / len(members) - gap * (len(members) - 1) / 2)
        groups.append((members, max(low, start)))
    return [start + gap * place for members, start in groups for place in range(len(members))]


def matrix_plot(report: Report, look: Look) -> bytes:
    """The cross-silo matrix as an annotated heat map: who trained x whose topic."""
    topics, rows = report.matrix.topics, report.matrix.rows
    figure, axes = blank(look, width=max(4.8, 1.8 + 0.95 * len(topics)), height=1.0 + 0.42 * len(rows))
    losses = [[row.loss_by_topic[topic] for topic in topics] for row in rows]
    trained = [line for row, line in zip(rows, losses, strict=True) if row.trained_by != "untrained"] or losses
    scale = Normalize(min(map(min, trained)), max(map(max, trained)), clip=True)
    colours = LinearSegmentedColormap.from_list("heat", look.heat)
    axes.imshow(losses, cmap=colours, norm=scale, aspect="auto")
    for y, row in enumerate(rows):
        for x, topic in enumerate(topics):
            weight = "bold" if row.trained_by == "federation" else "normal"
            axes.text(x, y, f"{losses[y][x]:.2f}", ha="center", va="center", color=look.ink, fontweight=weight)
            if topic == row.trained_by:
                axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, ec=look.ink, lw=1.5, zorder=3))
    axes.set_xticks(range(len(topics)), topics, parse_math=False)
    axes.set_yticks(range(len(rows)), [row_name(row.trained_by, report) for row in rows], parse_math=False)
    axes.set_xlabel("held-out pictures of whose topic", color=look.faint, labelpad=8)
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    for y in range(1, len(rows)):
        axes.axhline(y - 0.5, color=look.background, linewidth=2)
    for x in range(1, len(topics)):
        axes.axvline(x - 0.5, color=look.background, linewidth=2)
    return png(figure)


def row_name(trained_by: str, report: Report) -> str:
    """What a row of the matrix is called: silos are alone."""
    return f"{trained_by} alone" if trained_by in report.alone else trained_by


def retrieval_plot(report: Report, look: Look) -> bytes:
    """Shares of pictures whose own caption came first (full bars) or among the first five (light bars)."""
    found = report.retrieval
    bars = [
        ("chance", found.chance, look.faint),
        ("federation", found.federated, look.federation),
        ("pooled", found.pooled, look.pooled),
    ]
    figure, axes = blank(look, width=4.4, height=3.3)
    lift = 1.5 * max(hits.top5 for _, hits, _ in bars)  # of numbers above their bars, in per cent
    for x, (_, hits, colour) in enumerate(bars):
        for left, share, shade in ((x - 0.21, hits.top1, colour), (x + 0.21, hits.top5, paler(colour, look))):
            axes.bar(left, 100 * share, width=0.4, color=shade)
            axes.text(left, 100 * share + lift, percent(share).removesuffix("%"), ha="center", color=look.ink)
    axes.set_xticks(range(len(bars)), [name for name, *_ in bars])
    axes.set_ylabel("pictures, %", color=look.faint)
    axes.margins(y=0.12)
    axes.grid(axis="y", color=look.grid, linewidth=0.8)
    axes.set_title("full bar: own caption first; light bar: among the first five", fontsize=SMALL, color=look.faint)
    return png(figure)


def paler(colour: str, look: Look) -> tuple[float, ...]:
    """The colour half-way to the background: not transparent, so that no grid shows through."""
    return tuple((part + ground) / 2 for part, ground in zip(to_rgb(colour), to_rgb(look.background), strict=True))


def blank(look: Look, *, width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of that many inches, in the look's colours."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=look.background, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=look.background)
    axes.set_axisbelow(True)
    axes.tick_params(colors=look.ink, labelsize=FONT_SIZE, length=0, pad=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(look.faint)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as a PNG without a note of the software that drew it."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


PLOTS: dict[str, Plot] = {"loss": loss_plot, "matrix": matrix_plot, "retrieval": retrieval_plot}
LOOKS: dict[str, Look] = {"light": LIGHT, "dark": DARK}
