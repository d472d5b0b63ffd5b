"""Explores every order in which actors may meet at one bucket, and every place where any of them may die.

A state is the bucket, and where each actor is. An actor that died is one that is not run any further, so the states
reached include those after every crash before and after every verb: what must hold after crashes is asked of every
state.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.bucket import Buckets
from tests.model.program import MOST_VERBS, NeverEnds, Node, Program
from tests.model.scene import Repaired, Scene

State = tuple[int, tuple[Node, ...]]
"""The bucket's number, and where each actor is."""


@dataclass(frozen=True, slots=True)
class Explored:
    """What an exploration saw.

    Attributes:
        num_states: Different states, after the reductions.
        num_transitions: Steps between them.
        num_executions: Different orders of those steps, from the start until all actors have ended.
        num_buckets: Different contents of the bucket.
        num_runs: How often an actor's code was run.
        ends: What the bucket held when all actors had ended, and what each had ended with: every way that this can be.
        broken: What is wrong in the first state where anything is; "" if nothing is, and then all was explored.
    """

    num_states: int
    num_transitions: int
    num_executions: int
    num_buckets: int
    num_runs: int
    ends: frozenset[tuple[frozenset[tuple[str, bytes]], tuple[str, ...]]]
    broken: str = ""


class Steps:
    """The steps of one scene, from state to state.

    One reduction: a verb that changes nothing, and whose answer no write that another actor may still do would change,
    is done at once. It commutes with all that can follow, and the states that it skips differ from the next one in
    nothing that is claimed. Which writes may still follow is learned while exploring: explore again until nothing more
    is learned.

    Args:
        scene: Whose.
        merge: Whether histories that leave an actor the same memory are one state.
        exchange: Whether actors that do the very same thing may change places.
        reduce: Whether verbs that commute with all that can follow are done at once.
    """

    def __init__(self, scene: Scene, *, merge: bool = True, exchange: bool = True, reduce: bool = True) -> None:
        self.buckets = Buckets()
        self.scene = scene
        self.names = tuple(scene.actors)
        self._exchange = exchange
        self._reduce = reduce
        programs = {work: Program(name, work, buckets=self.buckets, merge=merge) for name, work in scene.actors.items()}
        self.programs = tuple(programs[work] for work in scene.actors.values())
        self.survivor = programs.get(scene.survivor) or Program(
            "survivor", scene.survivor, buckets=Buckets(), merge=merge
        )
        self._moves: dict[tuple[int, Node], tuple[Node, int]] = {}
        self._conflicts: dict[tuple[int, Node], int] = {}
        self._futures: dict[Node, int] = {}
        self._wrong: dict[tuple[int, Node | None], str] = {}

    def size(self) -> int:
        """How much is known of what the actors may do: once it no longer grows, the reduction has missed nothing."""
        return sum(len(node.children) + 1 for program in set(self.programs) for node in program.states())

    def learn(self) -> None:
        """Takes into account all that is known of what the actors may still write."""
        self._conflicts.clear()
        nodes = [node for program in set(self.programs) for node in program.states()]
        self._futures = {node: self.buckets.bit(node.request) if node.request else 0 for node in nodes}
        changed = True
        while changed:
            changed = False
            for node in reversed(nodes):
                future = self._futures[node]
                for child in node.children.values():
                    future |= self._futures[child]
                changed |= future != self._futures[node]
                self._futures[node] = future

    def start(self) -> State:
        """Where all begins."""
        return self._settled(self.buckets.number(self.scene.contents), [program.root for program in self.programs])

    def following(self, state: State) -> Iterator[tuple[int, State]]:
        """Each actor that is at work, by its position, and the state that its next verb leads to."""
        bucket, nodes = state
        for position, node in enumerate(nodes):
            if node.request is not None and not (position and self._exchange and node is nodes[position - 1]):
                after = [*nodes]
                after[position], bucket_after = self._move(bucket, node, self.programs[position])
                yield position, self._settled(bucket_after, after)

    def wrong_with(self, state: State) -> str:
        """What is wrong with a state; "" if nothing."""
        bucket, nodes = state
        ended = [node for node in nodes if node.request is None]
        return next(filter(None, (self._wrong_with(bucket, node) for node in (None, *ended))), "")

    def repaired(self, bucket: int) -> Repaired:
        """What the survivor makes of a bucket."""
        now, node = bucket, self.survivor.root
        for _ in range(MOST_VERBS):
            if node.request is None:
                return Repaired(self.buckets.contents(bucket), node.outcome, self.buckets.contents(now))
            node, now = self._move(now, node, self.survivor)
        raise NeverEnds(f"the survivor goes round in a circle: {node.request}")

    def _move(self, bucket: int, node: Node, program: Program) -> tuple[Node, int]:
        """Where an actor's next verb leads it, and what the bucket is then."""
        known = self._moves.get((bucket, node))
        if known is None:
            assert node.request is not None
            answer, after = self.buckets.step(bucket, node.request)
            known = self._moves[bucket, node] = (program.after(node, answer), after)
        return known

    def _wrong_with(self, bucket: int, node: Node | None) -> str:
        known = self._wrong.get((bucket, node))
        if known is None:
            repaired = self.repaired(bucket)
            if node is None:
                known = self.scene.wrong_with_bucket(repaired)
            else:
                known = self.scene.wrong_with_ending(node.outcome, repaired)
            self._wrong[bucket, node] = known
        return known

    def _settled(self, bucket: int, nodes: list[Node]) -> State:
        """The state once all is done that commutes with whatever can follow; those who are alike stand in order."""
        moved = self._reduce
        for _ in range(MOST_VERBS):
            if not moved:
                return bucket, self._ordered(nodes)
            moved = False
            for position, program in enumerate(self.programs):
                if self._commutes(bucket, nodes, position):
                    nodes[position], _ = self._move(bucket, nodes[position], program)
                    moved = True
        raise NeverEnds(f"actors read in a circle: {[node.request for node in nodes]}")

    def _commutes(self, bucket: int, nodes: list[Node], position: int) -> bool:
        node = nodes[position]
        if node.request is None or self._move(bucket, node, self.programs[position])[1] != bucket:
            return False
        conflicts = self._conflicts.get((bucket, node))
        if conflicts is None:
            conflicts = self._conflicts[bucket, node] = self.buckets.conflicts(bucket, node.request)
        if conflicts:
            for index, other in enumerate(nodes):
                if index != position and conflicts & self._futures.get(other, 0):
                    return False
        return True

    def _ordered(self, nodes: list[Node]) -> tuple[Node, ...]:
        if self._exchange:
            first = 0
            for position in range(1, len(nodes) + 1):
                if position == len(nodes) or self.programs[position] is not self.programs[first]:
                    nodes[first:position] = sorted(nodes[first:position], key=lambda node: node.number)
                    first = position
        return tuple(nodes)


class Visit:
    """One state on the way from the start to where the exploration is."""

    __slots__ = ("executions", "following", "num_following", "state")

    def __init__(self, state: State, following: Iterator[tuple[int, State]]) -> None:
        self.state = state
        self.following = following
        self.num_following = 0
        self.executions = 0


def explore(scene: Scene, *, merge: bool = True, exchange: bool = True, reduce: bool = True) -> Explored:
    """Explores all of a scene, or until something is wrong; for the switches see `Steps`.

    Raises:
        NeverEnds: An actor can go on without an end.
    """
    steps = Steps(scene, merge=merge, exchange=exchange, reduce=reduce)
    while True:
        steps.learn()
        size = steps.size()
        explored = _explore_once(steps)
        if explored.broken or steps.size() == size:
            return explored


def _explore_once(steps: Steps) -> Explored:
    """Depth first; `executions` of a state are known when all that follows it is."""
    executions: dict[State, int] = {}
    num_transitions, ends = 0, set()
    start = steps.start()
    way = [Visit(start, steps.following(start))]
    on_way = {start}
    broken = steps.wrong_with(start)
    while way and not broken:
        visit = way[-1]
        _, state = next(visit.following, (0, None))
        if state is None:
            way.pop()
            on_way.remove(visit.state)
            if not visit.num_following:
                visit.executions = 1
                ends.add(_end(steps, visit.state))
            executions[visit.state] = visit.executions
            if way:
                way[-1].executions += visit.executions
            continue
        num_transitions += 1
        visit.num_following += 1
        if state in on_way:
            raise NeverEnds(f"actors go round in a circle: {[node.request for node in state[1]]}")
        if state in executions:
            visit.executions += executions[state]
            continue
        broken = steps.wrong_with(state)
        way.append(Visit(state, steps.following(state)))
        on_way.add(state)
    return Explored(
        num_states=len(executions) + len(way),
        num_transitions=num_transitions,
        num_executions=executions.get(start, 0),
        num_buckets=len(steps.buckets),
        num_runs=sum(program.num_runs for program in {*steps.programs, steps.survivor}),
        ends=frozenset(ends),
        broken=broken,
    )


def _end(steps: Steps, state: State) -> tuple[frozenset[tuple[str, bytes]], tuple[str, ...]]:
    contents = frozenset(steps.buckets.contents(state[0]).items())
    return contents, tuple(sorted(repr(node.outcome) for node in state[1]))
