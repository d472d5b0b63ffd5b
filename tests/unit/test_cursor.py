"""The batches of a round: whole passes or so many steps, by seed, silo and round, and of similar caption length."""

from collections import Counter

from silo_agent.cursor import BUCKET_BATCHES, Schedule, schedule, seed_of
from tests.plans import plan_with

KEYS = [f"{number:03}" for number in range(10)]


def schedule_of(*, silo: str = "north", round_number: int = 1, **changes: object) -> Schedule:
    """The schedule of ten samples."""
    lengths = [3] * len(KEYS)
    return schedule(KEYS, lengths, plan_with(**changes), silo=silo, round_number=round_number)


def counts(todo: Schedule) -> Counter[int]:
    """How often each sample comes."""
    return Counter(index for batch in todo.batches for index in batch)


def test_epochs_are_whole_passes() -> None:
    """Two epochs of ten samples in batches of four: six steps, every sample twice, ten distinct examples."""
    todo = schedule_of(local_epochs=2)

    assert [len(batch) for batch in todo.batches].count(4) == 4
    assert len(todo.batches) == 6
    assert counts(todo) == Counter(dict.fromkeys(range(10), 2))
    assert (todo.num_examples, todo.cursor) == (10, "")


def test_steps_count_exactly() -> None:
    """A plan of steps ends in the midst of a pass, or goes on into the next, and claims only what it used."""
    one, seven = schedule_of(local_steps=1), schedule_of(local_steps=7)

    assert (len(one.batches), one.num_examples) == (1, len(one.batches[0]))
    assert (len(seven.batches), seven.num_examples) == (7, 10)


def test_order_follows_seed_silo_and_round() -> None:
    """Equal seed, silo and round give equal batches; changing any one of them gives another order."""
    same = schedule_of().batches

    assert schedule_of().batches == same
    assert schedule_of(seed=8).batches != same
    assert schedule_of(silo="south").batches != same
    assert schedule_of(round_number=2).batches != same
    assert schedule_of(local_epochs=2).batches[:3] == same


def test_batches_hold_captions_of_similar_length() -> None:
    """Within a run of batches the lengths are sorted, so little of a batch is padding."""
    size = 4
    lengths = [number % 50 for number in range(size * BUCKET_BATCHES)]

    todo = schedule([str(n) for n in lengths], lengths, plan_with(batch_size=size), silo="s", round_number=1)

    rows = sorted([lengths[index] for index in batch] for batch in todo.batches)
    assert [length for row in rows for length in row] == sorted(lengths)


def test_one_pass_ends_with_nothing() -> None:
    """Once every sample was used, a round has no batch, claims no example, and the cursor stays."""
    keys = ["a", "b"]
    plan = plan_with(one_pass=True)
    used = schedule(keys, [1, 1], plan, silo="s", round_number=1)

    after = schedule(keys, [1, 1], plan, silo="s", round_number=2, cursor=used.cursor)

    assert after == Schedule((), 0, used.cursor)


def test_seeds_are_fixed() -> None:
    """A seed is a fixed function of its parts: a new release trains a round as the old one did."""
    assert seed_of(7, "north", 1) == 0x3718117D8738F94E
