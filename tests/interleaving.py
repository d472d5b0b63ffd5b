"""Actors that share a store and take turns at its verbs, in an order that the test chooses; any of them may die.

Between two verbs of one actor any number of verbs of others may happen: all that replicas on one bucket can do to each
other, without a clock and without luck.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from aggregator.stores import Content, Entry, Store

_PATIENCE_SECONDS = 60.0

Bursts = list[tuple[int, int]]


class Died(BaseException):
    """The actor's process was killed: no handler of the code under test catches it."""


@dataclass
class Actor:
    """One replica at work.

    Attributes:
        name: What it is called.
        dies_at: How many verbs it does before it dies; None: it lives.
        before: Whether it dies right before that verb takes effect, or right after.
    """

    name: str
    dies_at: int | None = None
    before: bool = True
    verbs: int = 0
    done: bool = False
    result: object = None
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    waits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class TurnStore:
    """A store whose every verb waits for its actor's turn."""

    def __init__(self, store: Store, actor: Actor) -> None:
        self._store = store
        self._actor = actor

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """As the store."""
        with self._on_turn():
            return self._store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """As the store."""
        with self._on_turn():
            self._store.put(key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """As the store."""
        with self._on_turn():
            return self._store.put_if_absent(key, content)

    def list(self, prefix: str) -> Iterator[Entry]:
        """As the store."""
        with self._on_turn():
            return self._store.list(prefix)

    def delete(self, key: str) -> None:
        """As the store."""
        with self._on_turn():
            self._store.delete(key)

    @contextmanager
    def _on_turn(self) -> Iterator[None]:
        actor = self._actor
        actor.waits.release()
        if not actor.turn.acquire(timeout=_PATIENCE_SECONDS):
            raise Died
        actor.verbs += 1
        if actor.before and actor.dies_at == actor.verbs:
            raise Died
        yield
        if actor.dies_at == actor.verbs:
            raise Died


def bursts(*, most_actors: int, most_verbs: int, length: int = 25) -> SearchStrategy[Bursts]:
    """Whose turn it is, and for how many verbs: in bursts, so that some are far ahead of others."""
    burst = st.tuples(st.integers(0, most_actors), st.integers(1, most_verbs))
    return st.lists(burst, min_size=length, max_size=length)


def mortals(names: Sequence[str], *, most_verbs: int) -> SearchStrategy[list[Actor]]:
    """Up to three actors of these names, each with the verb that it dies at."""
    mortal = st.builds(Actor, st.sampled_from(names), dies_at=st.integers(1, most_verbs), before=st.booleans())
    return st.lists(mortal, max_size=3, unique_by=lambda actor: actor.name)


def run_interleaved(
    store: Store, work: Mapping[str, Callable[[Store], object]], *, order: Sequence[int], deaths: Sequence[Actor] = ()
) -> dict[str, object]:
    """Runs every actor's work on the store, one verb at a time.

    Args:
        store: What they share.
        work: What each actor does, given its view of the store.
        order: Whose turn it is: the i-th number, taken modulo the actors still at work, picks among them; when the
            numbers are used up they go on in turn.
        deaths: Actors that die; the others live.

    Returns:
        What each work returned, or the exception that it raised; Died for the dead.
    """
    mortals = {actor.name: actor for actor in deaths}
    actors = [mortals.get(name) or Actor(name) for name in work]

    def live(actor: Actor) -> None:
        try:
            actor.result = work[actor.name](TurnStore(store, actor))
        except BaseException as error:
            actor.result = error
        actor.done = True
        actor.waits.release()

    threads = [threading.Thread(target=live, args=(actor,)) for actor in actors]
    for thread, actor in zip(threads, actors, strict=True):
        thread.start()
        actor.waits.acquire(timeout=_PATIENCE_SECONDS)
    picks = iter(order)
    while at_work := [actor for actor in actors if not actor.done]:
        actor = at_work[next(picks, 0) % len(at_work)]
        actor.turn.release()
        actor.waits.acquire(timeout=_PATIENCE_SECONDS)
    for thread in threads:
        thread.join(_PATIENCE_SECONDS)
    return {actor.name: actor.result for actor in actors}
