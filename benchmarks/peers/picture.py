"""The matrix as a picture: a row per input, a column per system, coloured by what the bad client achieved."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from benchmarks.peers.inputs import INPUTS
from benchmarks.peers.matrix import cell
from benchmarks.peers.outcomes import Outcome, Verdict
from benchmarks.peers.systems import SYSTEMS

COLOURS = {
    Verdict.REFUSED: "#9fcfdb",
    Verdict.HARMLESS: "#f3ecd2",
    Verdict.LOST: "#e8bf86",
    Verdict.SPOILED: "#d98a7c",
}
INK, FAINT = "#1d2733", "#5c6b7a"
WIDTH, LEFT = 2.5, 3.1
"""Of a column, and of the inputs' names, in units of a row's height."""


def draw(outcomes: Sequence[Outcome], *, file: Path) -> None:
    """Writes the picture."""
    figure = Figure(figsize=(13.5, 9.0), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    num_hostile = sum(given.is_hostile for given in INPUTS)
    for row, given in enumerate(INPUTS):
        top = row + (0 if given.is_hostile else 0.7)
        axes.text(-0.1, top + 0.5, given.text, ha="right", va="center", color=INK, fontsize=10.5)
        for column, system in enumerate(SYSTEMS):
            one = cell(outcomes, given, system)
            box = Rectangle((column * WIDTH, top), WIDTH - 0.06, 0.94, color=COLOURS[one.verdict], lw=0)
            axes.add_patch(box)
            text = "\nor ".join(one.told)
            text = text.replace("_", " ").lower() if one.verdict is Verdict.REFUSED else text
            axes.text(
                column * WIDTH + WIDTH / 2,
                top + 0.47,
                text,
                ha="center",
                va="center",
                color=INK,
                fontsize=8.5 if "\n" in text else 9,
            )
    for column, system in enumerate(SYSTEMS):
        weight = "normal" if system.peer else "bold"
        place = column * WIDTH + WIDTH / 2
        axes.text(place, -0.15, system.title, ha="center", va="bottom", color=INK, fontsize=11, fontweight=weight)
    below = "within every limit: no single delta shows it, and every system counts it"
    axes.text(0, num_hostile + 0.35, below, va="center", color=FAINT, fontsize=9.5, style="italic")
    axes.set_xlim(-LEFT, len(SYSTEMS) * WIDTH)
    axes.set_ylim(len(INPUTS) + 0.8, -1.0)
    axes.axis("off")
    handles = [Patch(color=colour, label=str(verdict)) for verdict, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=10.5)
    figure.suptitle("One of four clients sends this: what becomes of the next global?", color=INK, fontsize=14)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Software": None})
