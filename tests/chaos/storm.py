"""Runs until every order is obeyed: an undisturbed one first, whose lineage the others of a plain federation repeat."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cells import CLOCKS, Cell
from tests.chaos.crew import Crew
from tests.chaos.episode import Episode, Told
from tests.chaos.invariants import Lineage, lineage_of
from tests.chaos.legs import Leg
from tests.chaos.orders import Order
from tests.chaos.processes import Nursery
from tests.chaos.scene import FEDERATION, Scene, build, free_ports
from tests.chaos.wires import Wire

APART = "replicas hours apart"
TOGETHER = "replicas agree"

MAX_FRUITLESS = 4
"""Orders that stand unobeyed after so many runs in a row that obeyed none are given up: their cells are not run."""


@dataclass(slots=True)
class Findings:
    """What all runs together showed.

    Attributes:
        runs: How many disturbed runs each cell had.
        failed: How many of these broke something.
        problems: What, each with the run's number.
        num_episodes: Runs, the undisturbed one left out.
        num_kills: Processes that SIGKILL ended.
        seconds: All runs together.
        rounds: How many rounds of disturbed runs were published, and ended without a change, by play and which.
        lineages: Of the undisturbed run of each play.
    """

    runs: Counter[Cell] = field(default_factory=Counter)
    failed: Counter[Cell] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    num_episodes: int = 0
    num_kills: int = 0
    seconds: float = 0.0
    rounds: Counter[tuple[str, bool]] = field(default_factory=Counter)
    lineages: dict[str, Lineage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs share.

    Attributes:
        folder: Holds one folder per run; those of green runs are removed.
        store: The URL of a bucket, under which each run has a prefix of its own; "" puts a store into each folder.
        rounds: Of each federation.
        seed: Of everything that is chosen at random.
        say: Told one line per run.
    """

    folder: Path
    store: str
    rounds: int
    seed: int
    say: Callable[[str], None]


class Storm:
    """All runs of one call and leg.

    Args:
        nursery: Bears the processes.
        setting: What the runs share.
        leg: What is run.
        findings: Of all legs of the call.
    """

    def __init__(self, nursery: Nursery, setting: Setting, *, leg: Leg, findings: Findings) -> None:
        self._nursery = nursery
        self._setting = setting
        self._leg = leg
        self._dice = random.Random(setting.seed)
        self.findings = findings

    def rage(self, orders: Sequence[Order], *, until: float, clocks: bool = True) -> None:
        """Obeys the orders in as many runs as it takes, or until the clock shows `until`; stops at the first failure.

        Args:
            orders: Numbers must be unique.
            until: In seconds of the monotonic clock.
            clocks: Whether every other run has replicas whose clocks are hours apart.
        """
        left, fruitless = list(orders), 0
        if self._leg.repeats and self._leg.play.name not in self.findings.lineages:
            self._run([], clock=TOGETHER)
        while left and fruitless < MAX_FRUITLESS and not self.findings.problems and time.monotonic() < until:
            apart = clocks and self.findings.num_episodes % 2 == 0
            told = self._run(left, clock=APART if apart else TOGETHER)
            fruitless = 0 if told.obeyed else fruitless + 1
            left = told.left

    def _run(self, orders: Sequence[Order], *, clock: str) -> Told:
        number, play = self.findings.num_episodes, self._leg.play.name
        with self._scene(f"run-{number:04d}" if orders else f"undisturbed-{play}") as (scene, wires):
            crew = Crew(self._nursery, scene, CLOCKS[clock])
            told = Episode(crew, wires, orders=orders, dice=self._dice).run()
            self._nursery.end_all()
            undisturbed = self.findings.lineages.get(play)
            problems = told.problems or list(self._leg.problems(scene, undisturbed=undisturbed))
            if orders:
                self._count_rounds(scene)
            else:
                self.findings.lineages[play] = lineage_of(scene)
            self._note(told, problems, clock=clock)
            verdict = "; ".join([*problems, f"see {scene.folder}"]) if problems else "green"
            numbers = f"{len(told.obeyed)} orders obeyed, {told.num_kills} kills, {told.seconds:.1f} s"
            self._setting.say(f"{play} {f'run {number}' if orders else 'undisturbed'}: {numbers}, {clock}: {verdict}")
            if not problems:
                shutil.rmtree(scene.folder)
        return told

    def _note(self, told: Told, problems: Sequence[str], *, clock: str) -> None:
        cells = [Cell(order.role, order.point, order.fault, self._leg.play.name) for order in told.obeyed]
        if clock == APART:
            cells.append(Cell("clock", APART, "apart", self._leg.play.name))
        self.findings.runs.update(cells)
        if problems:
            self.findings.failed.update(set(cells))
            obeyed = ", ".join(map(str, cells))
            self.findings.problems += [f"{problem} (after {obeyed or 'nothing'})" for problem in problems]
        self.findings.num_kills += told.num_kills
        self.findings.seconds += told.seconds
        self.findings.num_episodes += bool(told.obeyed or told.left)

    def _count_rounds(self, scene: Scene) -> None:
        for manifest in scene.ledger().lineage(FEDERATION)[1:]:
            self.findings.rounds[self._leg.play.name, manifest.abandoned] += 1

    @contextmanager
    def _scene(self, name: str) -> Iterator[tuple[Scene, dict[str, Wire]]]:
        """A fresh federation, and a wire for each silo."""
        setting = self._setting
        ports = free_ports(self._dice)
        wires = {silo: Wire(ports) for silo in self._leg.play.silos}
        try:
            scene = build(
                setting.folder / name,
                play=self._leg.play,
                store=_prefixed(setting.store, f"{setting.folder.name}-{name}"),
                rounds=setting.rounds,
                ports=ports,
                addresses={silo: wire.address for silo, wire in wires.items()},
            )
            yield scene, wires
        finally:
            for wire in wires.values():
                wire.close()


def _prefixed(store: str, prefix: str) -> str:
    """The URL of a bucket with a longer prefix; "" stays."""
    where, mark, options = store.partition("?")
    return f"{where.rstrip('/')}/{prefix}{mark}{options}" if store else ""
