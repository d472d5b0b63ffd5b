"""The held-out share: a split that stays, a bounded evaluation, and a loss per token."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigInvalid
from silo_agent.data import Sample, Samples
from silo_agent.held_out import evaluate, split, to_evaluate
from silo_agent.trainer import Surroundings, silent
from tests.plans import plan_with


def samples_of(pictures: Sequence[int], *, captions: int = 1) -> Samples:
    """Samples of pictures by number, each with so many captions."""
    return Samples(
        tuple(
            Sample(f"{picture}-{caption}", Path(f"{picture}.png"), f"{picture:064x}", f"caption {caption}")
            for picture in pictures
            for caption in range(captions)
        )
    )


def keys(samples: Samples) -> list[str]:
    """The samples by their keys."""
    return [sample.key for sample in samples.items]


def test_share_is_held_out() -> None:
    """Of many pictures about the share is held out, every sample is on one side, and the rest keeps its order."""
    samples = samples_of(range(5000))

    trained, held_out = split(samples, share=0.1)

    assert 430 <= len(held_out.items) <= 570
    assert set(keys(trained)) | set(keys(held_out)) == set(keys(samples))
    assert keys(trained) == [key for key in keys(samples) if key not in set(keys(held_out))]


def test_nothing_is_held_out_by_default() -> None:
    """A share of 0 leaves all samples to the training."""
    samples = samples_of(range(50))

    assert split(samples, share=0.0) == (samples, Samples(()))


def test_all_captions_of_a_picture_are_on_one_side() -> None:
    """A picture that is held out is never trained on under another caption."""
    trained, held_out = split(samples_of(range(200), captions=5), share=0.3)

    pictures = [{sample.picture_digest for sample in part.items} for part in (trained, held_out)]
    assert pictures[0].isdisjoint(pictures[1])
    assert len(held_out.items) == 5 * len(pictures[1])


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60), st.floats(0.0, 0.5), st.randoms())
def test_growth_and_order_move_no_sample(more: list[int], share: float, random: object) -> None:
    """Data that are added, in whatever order, leave every sample where it was; so does a restart."""
    first = list(range(2_000_000, 2_000_040))
    mixed = [*first, *more]
    random.shuffle(mixed)  # type: ignore[attr-defined]

    _, before = split(samples_of(first), share=share)
    _, after = split(samples_of(mixed), share=share)

    known = set(keys(samples_of(first)))
    assert keys(before) == [key for key in keys(after) if key in known]


def test_greater_share_holds_out_more_and_the_same() -> None:
    """What a smaller share holds out, a greater one does, too."""
    samples = samples_of(range(300))

    assert set(keys(split(samples, share=0.1)[1])) < set(keys(split(samples, share=0.3)[1]))


def test_split_is_the_documented_one() -> None:
    """The split follows from the picture's digest alone, by the hash that the guide gives: a change would mix sides."""
    _, held_out = split(samples_of(range(40)), share=0.25)

    order = [1, 34, 12, 20, 22, 2, 0, 38, 14, 39, 4, 27, 35, 31, 36, 16]
    assert keys(held_out) == [f"{picture}-0" for picture in order]


def test_all_held_out_is_refused() -> None:
    """Where no sample is left to train on, that is an error that names the key."""
    held_out = split(samples_of(range(40)), share=0.25)[1]

    with pytest.raises(ConfigInvalid, match=r"data\.held_out = 0\.25 holds all"):
        split(held_out, share=0.25)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"local_steps": 10, "batch_size": 8}, 10),
        ({"local_steps": 0, "local_epochs": 1}, 12),
        ({"local_steps": 0, "local_epochs": 3}, 30),
        ({"local_steps": 1, "batch_size": 1}, 1),
    ],
)
def test_evaluation_costs_a_small_share_of_the_round(plan: dict[str, object], expected: int) -> None:
    """At most an eighth as many samples as the round trains on, at most the cap, at least one; always the same ones."""
    held_out = samples_of(range(1000, 1100))
    around = Surroundings("s", samples_of(range(100)), Path("cache"), held_out=held_out, max_held_out=30)

    assert held_out.items[:expected] == to_evaluate(around, plan_with(**plan))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 8))
def test_loss_is_per_token_whatever_the_batches(lengths: list[int], batch_size: int) -> None:
    """Every sample counts once, by its tokens; what is told ends with all of them."""
    told = [(0, 0)]

    found = evaluate(
        [range(length) for length in lengths],
        lambda batch: float(sum(lengths[index] ** 2 for index in batch)),
        batch_size=batch_size,
        tell=lambda done, total: told.append((done, total)),
    )

    assert found.loss == pytest.approx(sum(length**2 for length in lengths) / sum(lengths))
    assert (found.num_samples, told[-1]) == (len(lengths), (len(lengths), len(lengths)))


def test_progress_is_optional() -> None:
    """An evaluation that tells nobody gives the same."""
    assert evaluate([[1, 2]], lambda batch: 3.0, batch_size=1, tell=silent).loss == 1.5
