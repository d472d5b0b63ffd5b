"""The legs of the storm: a federation that is played, the faults that it must stand, and what must be true after."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.cells import CELLS, MASKED_CELLS, MASKED_SHORT_CELLS, SHORT_CELLS, Cell
from tests.chaos.invariants import problems_of
from tests.chaos.masked_invariants import masked_problems_of
from tests.chaos.scene import MASKED, PLAIN, Play


@dataclass(frozen=True, slots=True)
class Leg:
    """One of them.

    Attributes:
        play: The federation.
        cells: Every fault at every point.
        short: What the default suite runs once.
        problems: Every way in which a finished run breaks an invariant; see `tests.chaos.invariants.problems_of`.
        repeats: Whether every run must give what an undisturbed one gives, so that one is needed first.
    """

    play: Play
    cells: tuple[Cell, ...]
    short: tuple[Cell, ...]
    problems: Callable[..., Iterator[str]]
    repeats: bool


LEGS = {
    PLAIN.name: Leg(PLAIN, CELLS, SHORT_CELLS, problems_of, repeats=True),
    MASKED.name: Leg(MASKED, MASKED_CELLS, MASKED_SHORT_CELLS, masked_problems_of, repeats=False),
}
"""By the name of the play, in the order in which they are run."""
