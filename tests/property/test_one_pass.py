"""The one-pass order: each sample at most once, whatever the rounds take and however the folder changes between."""

from hypothesis import given
from hypothesis import strategies as st

from silo_agent.cursor import schedule
from tests.plans import plan_with

KEYS = st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), unique=True, max_size=40)


@given(keys=KEYS, steps=st.lists(st.integers(0, 4), max_size=8), batch_size=st.integers(1, 5))
def test_every_sample_comes_once(keys: list[str], steps: list[int], batch_size: int) -> None:
    """Rounds of any size, the last one taking what is left, use every sample exactly once."""
    cursor, used = "", []
    for number, local_steps in enumerate([*steps, 0], start=1):
        plan = plan_with(one_pass=True, local_steps=local_steps, batch_size=batch_size, local_epochs=3)
        todo = schedule(keys, [1] * len(keys), plan, silo="s", round_number=number, cursor=cursor)
        taken = [keys[index] for batch in todo.batches for index in batch]
        assert len(taken) == todo.num_examples
        used += taken
        cursor = todo.cursor

    assert sorted(keys) == sorted(used)


@given(before=KEYS, after=KEYS, steps=st.integers(1, 4))
def test_no_sample_comes_twice_when_the_folder_changes(before: list[str], after: list[str], steps: int) -> None:
    """Samples that were used stay used when others come, go, or change places between two rounds."""
    plan = plan_with(one_pass=True, local_steps=steps)
    first = schedule(before, [1] * len(before), plan, silo="s", round_number=1)
    rest = plan_with(one_pass=True)
    second = schedule(after, [1] * len(after), rest, silo="s", round_number=2, cursor=first.cursor)

    used = {before[index] for batch in first.batches for index in batch}
    assert used.isdisjoint(after[index] for batch in second.batches for index in batch)
