"""One run: three replicas, the agents and a federation, disturbed by orders until it is finished all the same."""

import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.chaos.cells import ANY_MOMENT, RECEIVING, SENDING
from tests.chaos.crew import REPLICAS, Crew
from tests.chaos.orders import Order, Orders
from tests.chaos.scene import DISK, Scene
from tests.chaos.wires import Trouble, Wire

NUM_OPEN = 4
"""So many orders stand at once: failures meet each other."""

PATIENCE_SECONDS = 60.0
"""A run in which nothing ends, nothing is published and no order is obeyed for so long is stuck."""

STOP_SECONDS = (0.2, 1.0)
AWAY_SECONDS = (0.3, 1.0)
WAIT_SECONDS = (0.0, 0.25)
"""Before what happens at any moment happens."""

Later = tuple[float, Callable[[], None]]
"""What is done once the clock shows so many seconds."""

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}


@dataclass(slots=True)
class Told:
    """What a run did.

    Attributes:
        obeyed: Orders that were obeyed.
        left: Orders that nobody came to obey.
        problems: What went wrong, in sentences. What the store holds is judged elsewhere.
        num_kills: Processes that SIGKILL ended.
        seconds: How long it took.
    """

    obeyed: list[Order] = field(default_factory=list)
    left: list[Order] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    num_kills: int = 0
    seconds: float = 0.0


class Episode:
    """One run.

    Args:
        crew: The processes.
        wires: Every silo's way to the replicas.
        orders: What is to happen.
        dice: For moments and victims.
    """

    def __init__(self, crew: Crew, wires: dict[str, Wire], *, orders: Iterable[Order], dice: random.Random) -> None:
        self._crew = crew
        self._scene: Scene = crew.scene
        self._wires = wires
        self._queue = deque(orders)
        self._dice = dice
        self._orders = Orders(crew.scene.orders)
        self._open: dict[int, Order] = {}
        self._later: list[Later] = []
        self._repairs: list[Later] = []
        self._moved_at = time.monotonic()
        self._told = Told()

    def run(self) -> Told:
        """Runs until every agent says that the federation is finished and every replica has drained."""
        started = self._moved_at = time.monotonic()
        self._crew.start()
        while len(self._crew.finished) < len(self._scene.silos) and not self._crew.problems and not self._is_stuck():
            self._step()
        self._orders.withdraw()
        for _, repair in self._repairs:
            repair()
        told = self._told
        if not self._crew.problems and not told.problems:
            self._crew.drain()
        told.left = [*self._open.values(), *self._queue]
        told.problems += self._crew.problems
        told.num_kills = self._crew.num_kills
        told.seconds = time.monotonic() - started
        return told

    def _step(self) -> None:
        self._top_up()
        changed = self._crew.nursery.poll(0.02)
        self._note_obeyed()  # first: it tells whose end was ordered
        for child in changed:
            if child.status is None:
                self._repair_after(STOP_SECONDS, child.go_on)
            else:
                self._crew.see(child)
        self._later = _run_due(self._later)
        self._repairs = _run_due(self._repairs)

    def _note_obeyed(self) -> None:
        for number, pid in self._orders.taken().items():
            if number in self._open and self._open[number].fault == "term":
                self._crew.terminated.add(pid)
            self._done(number)
        for wire in self._wires.values():
            for number in wire.fired:
                self._done(number)

    def _top_up(self) -> None:
        while self._queue and len(self._open) < NUM_OPEN:
            order = self._queue.popleft()
            self._open[order.number] = order
            if order.point == ANY_MOMENT:
                self._act_after(WAIT_SECONDS, lambda order=order: self._act(order))  # type: ignore[misc]
            elif order.point in (SENDING, RECEIVING):
                self._trouble_wire(order)
            else:
                self._orders.give(order)

    def _done(self, number: int) -> None:
        order = self._open.pop(number, None)
        if order is not None:
            self._told.obeyed.append(order)
            self._moved_at = time.monotonic()

    def _act(self, order: Order) -> None:
        """Obeys an order for any moment, now."""
        crew = self._crew
        if order.role == "store":
            self._take_store_away()
        elif order.role == "all replicas":
            for child in crew.alive(REPLICAS):
                crew.end(child, signal.SIGKILL)
        else:
            victims = crew.alive(REPLICAS if order.role == "replica" else self._scene.silos)
            if not victims:
                self._act_after(WAIT_SECONDS, lambda: self._act(order))
                return
            crew.end(self._dice.choice(victims), SIGNALS[order.fault])
        self._done(order.number)

    def _trouble_wire(self, order: Order) -> None:
        """Something happens at a byte of one silo's connection; a kill hits the process at one end of it."""
        silos = self._scene.silos
        silo = self._dice.choice([silo for silo in silos if silo not in self._crew.finished] or silos)

        def strike(port: int) -> None:
            name = silo if order.role == "silo" else REPLICAS[self._scene.ports.index(port)]
            for child in self._crew.alive([name]):
                self._crew.end(child, signal.SIGKILL)

        nothing: Callable[[int], None] = lambda port: None  # noqa: E731 - an expression reads better here
        self._wires[silo].trouble(
            Trouble(
                number=order.number,
                kind=order.fault,
                outward=order.point == SENDING,
                after_bytes=order.hit,
                then=strike if order.fault == "kill" else nothing,
            )
        )

    def _take_store_away(self) -> None:
        """Moves the store's disk away under the replicas' feet, and back a moment later."""
        disk = self._scene.folder / DISK
        away = disk.with_name("disk.away")
        if not away.exists():
            self._crew.store_was_away = True
            os.rename(disk, away)
            self._repair_after(AWAY_SECONDS, lambda: os.rename(away, disk))

    def _act_after(self, seconds: tuple[float, float], act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + self._dice.uniform(*seconds), act))

    def _repair_after(self, seconds: tuple[float, float], act: Callable[[], None]) -> None:
        """As `_act_after`, but done at the end of the run at the latest."""
        self._repairs.append((time.monotonic() + self._dice.uniform(*seconds), act))

    def _is_stuck(self) -> bool:
        if time.monotonic() - self._moved_at < PATIENCE_SECONDS:
            return False
        self._crew.tell_stacks()
        self._told.problems.append(
            f"Nothing moved for {PATIENCE_SECONDS} s; what each thread did stands in {self._scene.folder}/*.log."
        )
        return True


def _run_due(later: list[Later]) -> list[Later]:
    """Does what is due; what is left."""
    now = time.monotonic()
    for at, act in later:
        if at <= now:
            act()
    return [(at, act) for at, act in later if at > now]
