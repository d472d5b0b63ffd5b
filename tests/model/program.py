"""What an actor does next, whatever it was answered so far: found by running its real code, and remembered.

An actor is a deterministic function of the store's answers. Its code runs from the start with the recorded answers
until it asks for one verb more, where it is stopped: no threads, no locks, no clock.
"""

import sys
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from types import FrameType

from aggregator.stores import Content, Entry, Store
from tests.model.bucket import Absent, Answer, Buckets, Request
from tests.model.memory import memory_of

MOST_VERBS = 1000
"""More verbs than any actor needs: one that does more will not end."""

Step = tuple[Request, Answer]


class Stopped(BaseException):
    """The recorded answers are used up: no handler of the code under test catches it."""


class NeverEnds(AssertionError):
    """An actor asks for more verbs than any needs, or can go round in a circle."""


class NotDeterministic(BaseException):
    """An actor asks for something else after the same answers: no handler of the code under test catches it."""


class Node:
    """One state of one actor; `parent` and `answer` are one way there.

    Attributes:
        request: What it asks of the store next; None when it has ended.
        outcome: What its work returned, or the exception that it raised; None while it is at work.
        children: The state that each answer leads to.
        looks: Whether its code looks at the answer of this put_if_absent.
        number: Tells the states of one actor apart, in the order in which they were found.
    """

    __slots__ = ("answer", "children", "looks", "number", "outcome", "parent", "request")

    def __init__(self, parent: "Node | None" = None, answer: Answer = None) -> None:
        self.parent = parent
        self.answer = answer
        self.request: Request | None = None
        self.outcome: object = None
        self.children: dict[Answer, Node] = {}
        self.looks = False
        self.number = 0

    def history(self) -> list[Step]:
        """What it asked, and what it was answered, on the one way here."""
        steps: list[Step] = []
        node = self
        while node.parent and node.parent.request:
            steps.append((node.parent.request, node.answer))
            node = node.parent
        return steps[::-1]


class Program:
    """One actor.

    Args:
        name: What it is called.
        work: What it does, given its view of the store; the same for the same answers.
        buckets: Where writes are known by number.
        merge: Whether histories that leave the actor the same memory are one state.
    """

    def __init__(self, name: str, work: Callable[[Store], object], *, buckets: Buckets, merge: bool = True) -> None:
        self.name = name
        self.num_runs = 0
        self._work = work
        self._buckets = buckets
        self._merge = merge
        self._states: dict[Hashable, Node] = {}
        self.root = self._run(Node())
        assert self.root is not None

    def states(self) -> list[Node]:
        """All states that are known."""
        return list(self._states.values())

    def after(self, node: Node, answer: Answer) -> Node:
        """The state that this answer leads to."""
        assert node.request is not None
        told = None if node.request.verb == "put_if_absent" and not node.looks else answer
        child = node.children.get(told)
        if child is None:
            child = self._run(Node(node, told))
            if child is None:
                node.looks = True
                return self.after(node, answer)
            node.children[told] = child
        return child

    def _run(self, node: Node) -> Node | None:
        """The state that this history leads to; None when the actor looks at an answer that it was not told."""
        history = node.history()
        if len(history) > MOST_VERBS:
            raise NeverEnds(f"{self.name} does not end: {node.parent and node.parent.request}")
        replay = Replay(history)
        self.num_runs += 1
        try:
            node.outcome = self._work(replay)
        except Stopped:
            if replay.asked is None:
                assert history[-1][0].verb == "put_if_absent", f"{self.name} looks late at what a put gave"
                return None
            node.request = replay.asked
            self._buckets.know(replay.asked)
        except Exception as error:
            node.outcome = error
        node.number = len(self._states)
        return self._states.setdefault(self._identity(node, replay), node)

    def _identity(self, node: Node, replay: "Replay") -> Hashable:
        if node.request is None:
            return ("ended", repr(node.outcome))
        if self._merge and replay.memory is not None:
            return (node.request, replay.memory)
        return (id(node.parent), node.answer)


class Replay:
    """A store that answers as recorded and stops the actor at the first verb beyond.

    Attributes:
        asked: That verb; None when the actor was stopped for looking at an answer that it was not told.
        memory: What the actor remembers there; None where it cannot be read.
    """

    REMEMBERS_NOTHING = True

    def __init__(self, history: list[Step]) -> None:
        self._history = iter(history)
        self._stopped = False
        self.asked: Request | None = None
        self.memory: Hashable = None

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """As the store."""
        answer = self._answer(Request("get", key, start=start, size=size))
        if answer is Absent.ABSENT:
            raise KeyError(key)
        assert isinstance(answer, bytes)
        return answer

    def put(self, key: str, content: Content) -> None:
        """As the store."""
        self._answer(Request("put", key, _bytes_of(content)))

    def put_if_absent(self, key: str, content: Content) -> bool:
        """As the store; most callers do not look at what it gives."""
        created = self._answer(Request("put_if_absent", key, _bytes_of(content)))
        return created if isinstance(created, bool) else _Untold(self)  # type: ignore[return-value]

    def list(self, prefix: str) -> Iterator[Entry]:
        """As the store."""
        answer = self._answer(Request("list", prefix))
        assert isinstance(answer, tuple)
        return iter(answer)

    def delete(self, key: str) -> None:
        """As the store."""
        self._answer(Request("delete", key))

    def stop(self) -> None:
        """Stops the actor where it is."""
        self._stopped = True
        raise Stopped

    def _answer(self, request: Request) -> Answer:
        if self._stopped:
            raise Stopped
        recorded, answer = next(self._history, (None, None))
        if recorded is None:
            self.asked = request
            self.memory = memory_of(_frames_of_the_actor())
            self.stop()
        if recorded != request:
            raise NotDeterministic(f"It asked for {recorded} before, and for {request} now.")
        return answer


class _Untold:
    """What put_if_absent gave, to a caller that was not told: looking at it stops the actor."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def __bool__(self) -> bool:
        self._replay.stop()
        return False


def _frames_of_the_actor() -> list[FrameType]:
    """The frames between this file's two ends of the actor's code, the innermost first."""
    frames = []
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame and frame.f_code.co_filename != __file__:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _bytes_of(content: Content) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content
