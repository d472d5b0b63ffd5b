"""The explorer itself: what it leaves out, it may leave out; what is wrong, it finds; what does not end, it tells."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.stores import Store
from tests.model.explore import Explored, explore
from tests.model.program import NeverEnds, NotDeterministic
from tests.model.scene import Contents, Repaired, Scene, Work
from tests.model.trace import counterexample

Verb = tuple[str, str]

KEYS = ("x", "y", "z/1", "z/2")
verbs = st.tuples(st.sampled_from(["get", "list", "put", "put_if_absent", "delete", "keep"]), st.sampled_from(KEYS))
acts = st.lists(st.lists(verbs, min_size=1, max_size=4), min_size=2, max_size=3)


def act(script: Sequence[Verb]) -> Work:
    """An actor that does these verbs, writes what it saw before, and ends with all that it kept."""

    def work(store: Store) -> tuple[object, ...]:
        kept: tuple[object, ...] = ()
        seen: object = None
        for verb, key in script:
            if verb == "keep":
                kept += (seen,)
            elif verb == "list":
                seen = [entry.key for entry in store.list("z")]
            elif verb == "get":
                seen = read(store, key)
            elif verb == "delete":
                store.delete(key)
            elif verb == "put":
                store.put(key, repr(seen).encode()[:8])
            else:
                seen = bool(store.put_if_absent(key, b"new"))
        return kept

    return work


def read(store: Store, key: str) -> bytes:
    """What a key holds; "none" where it is absent."""
    try:
        return store.get(key)
    except KeyError:
        return b"none"


def scene(*works: Work, contents: Contents, wrong_with_bucket: str = "") -> Scene:
    """Actors at a bucket; wrong is every bucket whose "x" holds the text."""
    return Scene(
        contents=contents,
        actors={f"actor {number}": work for number, work in enumerate(works)},
        survivor=lambda store: read(store, "y"),
        wrong_with_bucket=lambda repaired: _text_of_x(repaired, wrong_with_bucket),
        wrong_with_ending=lambda outcome, repaired: "",
    )


def _text_of_x(repaired: Repaired, wrong: str) -> str:
    held = repaired.before.get("x", b"").decode()
    return f"x holds {held}" if wrong and held == wrong else ""


def seen_in(explored: Explored) -> tuple[object, int]:
    """What does not depend on how much was left out: all the ends, and how many contents the bucket had."""
    return explored.ends, explored.num_buckets


@settings(max_examples=60, deadline=None)
@given(acts)
def test_what_is_left_out_changes_nothing(scripts: list[list[Verb]]) -> None:
    """Actors of any kind reach the same ends and the same buckets with every reduction as without any."""
    works = [act(script) for script in scripts]
    one = scene(*works, works[0], contents={"x": b"old", "z/1": b"old"})
    plain = explore(one, merge=False, exchange=False, reduce=False)

    assert seen_in(plain) == seen_in(explore(one, merge=False, exchange=False))
    assert seen_in(plain) == seen_in(explore(one, reduce=False))
    assert seen_in(plain) == seen_in(explore(one))


def increase(store: Store) -> None:
    """Adds 1 to "x", as two at once must not."""
    store.put("x", str(int(read(store, "x")) + 1).encode())


def test_lost_update_is_among_the_ends() -> None:
    """Two actors that read, add and write end at 1 or at 2, and at nothing else."""
    explored = explore(scene(increase, increase, contents={"x": b"0"}))

    assert {b"1", b"2"} == {dict(contents)["x"] for contents, _ in explored.ends}
    assert 2 + 1 == explored.num_buckets


def test_every_order_is_counted() -> None:
    """Without reductions, two actors of two verbs each meet in as many orders as there are: 4 over 2."""
    explored = explore(scene(increase, increase, contents={"x": b"0"}), merge=False, exchange=False, reduce=False)

    assert 6 == explored.num_executions


def put_and_take_back(store: Store) -> None:
    """Holds something in "x" between two verbs only."""
    store.put("x", b"brief")
    store.delete("x")


def test_crash_between_two_verbs_is_seen() -> None:
    """What is wrong only if the actor dies between two of its verbs is found, and told verb by verb."""
    one = scene(put_and_take_back, contents={}, wrong_with_bucket="brief")

    assert "x holds brief" == explore(one).broken
    assert ["actor 0", "a survivor", "wrong:"] == [line[:14].strip() for line in counterexample(one).splitlines()]


def wait_for_y(store: Store) -> bytes:
    """Reads until somebody has written: if he died, for ever."""
    while read(store, "y") == b"none":
        pass
    return read(store, "y")


def test_waiting_for_somebody_who_may_be_dead_is_told() -> None:
    """An actor that reads in a circle until another has written is refused: that other may have died."""
    with pytest.raises(NeverEnds):
        explore(scene(wait_for_y, act([("put", "y")]), contents={}))


def test_actor_that_is_not_a_function_of_its_answers_is_told() -> None:
    """Code that asks for something else when it is run again cannot be explored, and that is said."""
    times = iter(range(1000))

    def work(store: Store) -> None:
        store.put("x", str(next(times)).encode())
        store.put("y", b"")

    with pytest.raises(NotDeterministic):
        explore(scene(work, contents={}))
