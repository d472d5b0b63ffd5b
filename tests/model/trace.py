"""A counterexample as a person reads it: the fewest turns after which something is wrong, verb by verb."""

import re
from collections import deque

from tests.model.bucket import Absent, Answer, Request
from tests.model.explore import State, Steps
from tests.model.scene import Scene

_MAX_TEXT = 60


def counterexample(scene: Scene) -> str:
    """The shortest way to something wrong; "" where nothing is.

    Verbs whose answer can never change are left out.
    """
    steps = Steps(scene, exchange=False)
    while True:
        steps.learn()
        size = steps.size()
        way = _shortest(steps)
        if way or steps.size() == size:
            return _told(steps, way) if way else ""


def _shortest(steps: Steps) -> list[tuple[int, State]]:
    """Whose turn it is and where that leads, breadth first, until a state where something is wrong."""
    start = steps.start()
    before: dict[State, tuple[int, State]] = {start: (-1, start)}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if steps.wrong_with(state):
            return _way(before, state)
        for position, following in steps.following(state):
            if following not in before:
                before[following] = (position, state)
                waiting.append(following)
    return []


def _way(before: dict[State, tuple[int, State]], state: State) -> list[tuple[int, State]]:
    way = []
    while True:
        position, parent = before[state]
        way.append((position, state))
        if position < 0:
            return way[::-1]
        state = parent


class _Teller:
    """Walks the way again, verb by verb, and writes down what matters."""

    def __init__(self, steps: Steps) -> None:
        self.lines: list[str] = []
        self.bucket = steps.buckets.number(steps.scene.contents)
        self._steps = steps
        self._nodes = [program.root for program in steps.programs]

    def turn(self, position: int) -> None:
        """One verb of one actor."""
        node, name = self._nodes[position], self._steps.names[position]
        assert node.request is not None
        answer, self.bucket = self._steps.buckets.step(self.bucket, node.request)
        self._nodes[position] = self._steps.programs[position].after(node, answer)
        if self._steps.buckets.may_change(node.request):
            self.lines.append(f"{name:<14}{_asked(node.request):<58} -> {_answered(answer)}")
        if self._nodes[position].request is None:
            self.lines.append(f"{name:<14}ends with {_short(self._nodes[position].outcome)}")

    def catch_up(self, goal: State) -> None:
        """The verbs that commute with all that can follow: they were done at once."""
        for position, node in enumerate(goal[1]):
            while self._nodes[position] is not node:
                self.turn(position)


def _told(steps: Steps, way: list[tuple[int, State]]) -> str:
    """The way as lines: each verb that matters, each ending, and what is wrong at last."""
    teller = _Teller(steps)
    for position, state in way:
        if position >= 0:
            teller.turn(position)
        teller.catch_up(state)
    repaired = steps.repaired(teller.bucket)
    survivor = f"{'a survivor':<14}ends with {_short(repaired.outcome)}"
    return "\n".join([*teller.lines, survivor, f"{'wrong:':<14}{steps.wrong_with(way[-1][1])}"])


def _asked(request: Request) -> str:
    return f"{request.verb:<14}{_key(request.key)}"


def _answered(answer: Answer) -> str:
    match answer:
        case tuple():
            return ", ".join(_key(entry.key).rpartition("/")[2] for entry in answer) or "nothing"
        case Absent():
            return "absent"
        case bool():
            return "created" if answer else "exists"
        case None:
            return "done"
    return "there"


def _key(key: str) -> str:
    """A key without its federation, and with the beginnings of its digests only."""
    return re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1", re.sub(r"^federations/[^/]+/", "", key))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
