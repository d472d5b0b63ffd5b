"""The processes of one run: three replicas and the agents, each started again whenever it died."""

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from silo_agent.status_file import Phase
from tests.chaos.processes import Child, Nursery
from tests.chaos.scene import NUM_REPLICAS, Scene

REPLICAS = tuple(f"replica-{index}" for index in range(NUM_REPLICAS))

DRAIN_SECONDS = 20.0
"""A replica that is told to end has ended by then."""


@dataclass(slots=True)
class Crew:
    """Whoever is at work.

    Attributes:
        nursery: Bears them.
        scene: Where.
        clocks: Seconds by which each replica's clock is wrong.
        finished: Silos whose agent said that the federation is finished.
        terminated: Processes that were told to end.
        problems: Whoever ended otherwise than told, in sentences.
        num_kills: Processes that SIGKILL ended.
        store_was_away: A replica may have refused to start for that.
    """

    nursery: Nursery
    scene: Scene
    clocks: Sequence[int]
    finished: set[str] = field(default_factory=set)
    terminated: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    num_kills: int = 0
    store_was_away: bool = False
    _children: dict[str, Child] = field(default_factory=dict)

    def start(self) -> None:
        """Starts everyone."""
        for name in (*REPLICAS, *self.scene.silos):
            self._start(name)

    def see(self, child: Child) -> None:
        """Takes note of a child's end: whoever was killed or told to end is replaced."""
        if child.status == -signal.SIGKILL:
            self.num_kills += 1
        asked = child.pid in self.terminated and child.status in (0, -signal.SIGTERM)
        if child.name in self.scene.silos and child.status == 0 and self._phase(child.name) == Phase.FINISHED.value:
            self.finished.add(child.name)
        elif asked or child.status == -signal.SIGKILL or self._found_no_store(child):
            self._start(child.name)
        else:
            self.problems.append(f"{child.name} ended with status {child.status}; see {self.scene.log(child.name)}.")

    def alive(self, names: Sequence[str]) -> list[Child]:
        """Those that signals reach and that do not stand still."""
        children = (self._children[name] for name in names)
        return [child for child in children if child.alive and not child.stopped]

    def end(self, child: Child, number: signal.Signals) -> None:
        """Sends a signal, and remembers that an end by SIGTERM was wanted."""
        if number is signal.SIGTERM:
            self.terminated.add(child.pid)
        child.signal(number)

    def drain(self) -> None:
        """Tells every replica to end, and waits until it has; problems tell of those that do not."""
        for name in REPLICAS:
            self._children[name].signal(signal.SIGCONT)
        waiting, end = set(REPLICAS), time.monotonic() + DRAIN_SECONDS
        while waiting and time.monotonic() < end:
            for child in self.alive(tuple(waiting)):
                if child.pid not in self.terminated:
                    self.end(child, signal.SIGTERM)
            for child in self.nursery.poll(0.05):
                if child.status is None:
                    child.go_on()
                else:
                    waiting.discard(child.name)
                    self._judge_drained(child)
        self.problems += [f"{name} did not end within {DRAIN_SECONDS} s of SIGTERM." for name in sorted(waiting)]

    def tell_stacks(self) -> None:
        """Makes everyone write what its threads do into its log."""
        for child in self._children.values():
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGUSR1)
        time.sleep(0.5)

    def _judge_drained(self, child: Child) -> None:
        if child.status not in (0, -signal.SIGTERM, -signal.SIGKILL):
            self.problems.append(f"{child.name} ended with status {child.status} when it was told to end.")

    def _found_no_store(self, child: Child) -> bool:
        return self.store_was_away and child.name in REPLICAS and child.status == 1

    def _phase(self, silo: str) -> str:
        file = self.scene.silo(silo) / "state" / "status.json"
        return str(json.loads(file.read_text())["phase"]) if file.exists() else ""

    def _start(self, name: str) -> None:
        task = self._silo_task(name) if name in self.scene.silos else self._replica_task(REPLICAS.index(name))
        everyones = {"orders": os.fspath(self.scene.orders), "log": os.fspath(self.scene.log(name))}
        self._children[name] = self.nursery.bear(name, {**task, **everyones})

    def _replica_task(self, index: int) -> dict[str, object]:
        return {
            "kind": "replica",
            "config": os.fspath(self.scene.replica_config),
            "port": self.scene.ports[index],
            "clock_offset_seconds": self.clocks[index],
        }

    def _silo_task(self, silo: str) -> dict[str, object]:
        return {
            "kind": "silo",
            "config": os.fspath(self.scene.silo(silo) / "silo.toml"),
            "diary": os.fspath(self.scene.diary(silo)),
            "deltas": os.fspath(self.scene.deltas(silo)),
        }
