"""The fault matrices, one for each play: every cell that a long run must have run, and the orders that fill it."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.orders import Order
from tests.chaos.points import (
    ADVANCE_POINTS,
    AGENT_POINTS,
    KINDS,
    LINE,
    MASKED_KINDS,
    MASKED_STEPS,
    STORE_POINTS,
    SYSTEM_CALL,
    around,
)
from tests.chaos.scene import MASKED, PLAIN

ANY_MOMENT = "any moment"
"""The driver's own point: some instant of the run."""

SENDING, RECEIVING = "sending", "receiving"
"""The driver's points on the wire: at a random byte on a silo's way out, or on its way in."""

WIRE_BYTES = 90_000
"""A fault on the wire comes after at most so many bytes of a connection; a delta and a projector have a few more."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One fault at one point.

    Attributes:
        role: Who suffers it: "replica", "silo", "wire", "store" or "clock".
        point: Where or when.
        fault: What.
        play: In which federation.
    """

    role: str
    point: str
    fault: str
    play: str = PLAIN.name

    def __str__(self) -> str:
        return ":".join((*([self.play] if self.play != PLAIN.name else ()), self.role, self.point, self.fault))


BEFORE = tuple(point for point in STORE_POINTS if point.startswith("before-"))
AFTER = tuple(point for point in STORE_POINTS if point.startswith("after-"))
WRITES = tuple(f"before-{kind}" for kind in KINDS if kind != "sweep")

CLOCKS = {"replicas agree": (0, 0, 0), "replicas hours apart": (0, 5 * 3600, -7 * 3600)}
"""Seconds by which each replica's clock is wrong, by the name of the point."""

Table = tuple[tuple[str, tuple[str, ...], Sequence[str]], ...]
"""Who suffers which faults at which points."""

_PLAIN: Table = (
    ("replica", ("kill", "stop"), (*STORE_POINTS, *ADVANCE_POINTS, ANY_MOMENT)),
    ("replica", ("kill",), (SYSTEM_CALL, SENDING, RECEIVING)),
    ("replica", ("term",), ("before-segment", "after-segment", "before-contribution", "after-contribution")),
    ("replica", ("term",), ("at-closing", "at-combined", ANY_MOMENT)),
    ("replica", ("error",), BEFORE),
    ("replica", ("lost",), AFTER),
    ("replica", ("slow",), BEFORE),
    ("replica", ("full", "eio"), WRITES),
    ("silo", ("kill",), (*AGENT_POINTS, LINE, ANY_MOMENT, SENDING, RECEIVING)),
    ("silo", ("stop",), (*AGENT_POINTS, ANY_MOMENT)),
    ("silo", ("term",), ("before-pull", "before-train", "before-keep", "before-push", "before-settle", ANY_MOMENT)),
    ("wire", ("cut", "reset", "delay", "throttle", "half-open"), (SENDING, RECEIVING)),
    ("store", ("away",), (ANY_MOMENT,)),
    ("all replicas", ("kill",), (ANY_MOMENT,)),
    ("clock", ("apart",), ("replicas hours apart",)),
)

_MASKED_WRITES = (*MASKED_KINDS, "contribution", "closing", "roster", "blob", "projector")

_MASKED: Table = (
    ("replica", ("kill",), (*around(*_MASKED_WRITES), *ADVANCE_POINTS, ANY_MOMENT, SYSTEM_CALL)),
    ("replica", ("stop", "slow", "error"), tuple(f"before-{kind}" for kind in MASKED_KINDS)),
    ("replica", ("lost",), tuple(f"after-{kind}" for kind in MASKED_KINDS)),
    ("silo", ("kill",), (*AGENT_POINTS, *around(*MASKED_STEPS), LINE, ANY_MOMENT, SENDING)),
    ("silo", ("stop",), around(*MASKED_STEPS)),
    ("all replicas", ("kill",), (ANY_MOMENT,)),
    ("clock", ("apart",), ("replicas hours apart",)),
)


def _cells(table: Table, play: str) -> tuple[Cell, ...]:
    return tuple(
        Cell(role, point, fault, play) for role, faults, points in table for fault in faults for point in points
    )


CELLS: tuple[Cell, ...] = _cells(_PLAIN, PLAIN.name)
MASKED_CELLS: tuple[Cell, ...] = _cells(_MASKED, MASKED.name)
"""Every cell of a matrix, once."""

LOCAL_ONLY = ("full", "eio", "away")
"""Faults of a local store alone, and the point of its calls to the operating system."""

SHORT_CELLS: tuple[Cell, ...] = tuple(
    cell
    for cell in CELLS
    if (cell.fault == "kill" and cell.point not in ADVANCE_POINTS[:-1])
    or cell.fault == "lost"
    or cell.point in (ANY_MOMENT, "before-contribution", "before-push")
    or (cell.role == "wire" and cell.fault in ("cut", "reset"))
    or cell.role == "clock"
)
_MASKED_SHORT: Table = (
    (
        "replica",
        ("kill",),
        ("after-offer", *around("keys", "opening"), "after-seed", "at-combined", "before-projector"),
    ),
    ("silo", ("kill",), ("after-offer", "after-release", *around("push"), "after-note-reveal", *around("reveal"))),
)
MASKED_SHORT_CELLS: tuple[Cell, ...] = _cells(_MASKED_SHORT, MASKED.name)
"""What the default suite runs once."""


def is_possible(cell: Cell, *, local: bool) -> bool:
    """Whether this kind of store can suffer the cell."""
    return local or not (cell.fault in LOCAL_ONLY or cell.point == SYSTEM_CALL)


def orders_for(cells: Sequence[Cell], *, times: int, dice: random.Random, start: int) -> Iterator[Order]:
    """Orders that run every cell so often, in a random order; clocks are no order."""
    wanted = [cell for cell in cells if cell.role != "clock" for _ in range(times)]
    dice.shuffle(wanted)
    for number, cell in enumerate(wanted, start):
        yield Order(number, cell.role, cell.point, cell.fault, _hit(cell, dice))


def _hit(cell: Cell, dice: random.Random) -> int:
    if cell.point == LINE:
        return dice.randint(1, 120)
    if cell.point == SYSTEM_CALL:
        return dice.randint(1, 40)
    if cell.point in (SENDING, RECEIVING):
        return dice.randint(0, WIRE_BYTES)
    return dice.choice((1, 1, 1, 2))
