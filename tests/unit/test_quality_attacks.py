"""The attacks of the quality benchmark are what their papers say, against plain float64 numpy."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.quality.attacks import ATTACKS, EPSILON, SIGMA, Knowledge, Z
from benchmarks.quality.poison import STICKER, flipped, with_sticker
from benchmarks.quality.silos import SiloData
from isthmus.codec import F32

HONEST = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)


def knowledge(*, last_step: F32 | None = None, size: int = 3, seed: int = 0) -> Knowledge:
    """Of one of two hostile silos among five."""
    step = np.zeros(size, np.float32) if last_step is None else last_step
    own = np.arange(size, dtype=np.float32)
    return Knowledge(own, HONEST, 5, 2, step, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sign_flip", -HONEST.astype(float).mean(axis=0)),
        ("inner_product", -EPSILON * HONEST.astype(float).mean(axis=0)),
        ("alie", HONEST.astype(float).mean(axis=0) - Z * np.sqrt(HONEST.astype(float).var(axis=0, ddof=1))),
        ("backdoor", np.arange(3) * 5 / 2),
        ("label_flip", np.arange(3)),
    ],
)
def test_an_attack_is_its_formula(name: str, expected: np.ndarray) -> None:
    """Sign flip, inner product, ALIE, boosting and what is only poisoned data follow their papers' formulas."""
    sent = ATTACKS[name].sends(knowledge())

    assert sent.dtype == np.float32
    np.testing.assert_allclose(sent, expected, rtol=1e-6)


def test_alie_mirrors_byzfl_s_published_example() -> None:
    """ByzFL's example (mean + 1.5 standard deviations of these rows) is 8.5, 9.5, 10.5; ours lies as far below."""
    mean = HONEST.mean(axis=0)

    np.testing.assert_allclose(2 * mean - ATTACKS["alie"].sends(knowledge()), [8.5, 9.5, 10.5])


def test_enough_inner_product_reverses_the_mean() -> None:
    """Three of ten silos that send -epsilon times the honest mean turn the mean of all around."""
    honest = np.tile(HONEST, (3, 1))[:7]
    mean = honest.mean(axis=0)
    sent = ATTACKS["inner_product"].sends(
        Knowledge(mean, honest, 10, 3, np.zeros(3, np.float32), np.random.default_rng(0))
    )

    assert ((7 * mean + 3 * sent) * mean < 0).all()


def test_gauss_is_normal_and_repeats() -> None:
    """Gauss has mean 0 and its standard deviation, and the same stream gives the same bits."""
    sent = ATTACKS["gauss"].sends(knowledge(size=100_000))

    assert abs(sent.mean()) < 4 * SIGMA / 100_000**0.5
    assert sent.std() == pytest.approx(SIGMA, rel=0.02)
    assert (sent == ATTACKS["gauss"].sends(knowledge(size=100_000))).all()
    assert (sent != ATTACKS["gauss"].sends(knowledge(size=100_000, seed=1))).any()


def test_a_free_rider_sends_the_last_step_and_nothing_it_trained() -> None:
    """What it sends is the last step within the noise, never a delta of zeros, whatever it was given to train."""
    step = np.linspace(-1, 1, 1000, dtype=np.float32)

    sent = ATTACKS["free_rider"].sends(knowledge(last_step=step, size=1000))

    assert np.corrcoef(sent, step)[0, 1] > 0.98
    assert ATTACKS["free_rider"].sends(knowledge(size=1000)).any()


def test_flipped_captions_are_a_derangement() -> None:
    """Label flipping gives every picture another one's caption and loses none."""
    captions = tuple((number,) for number in range(7))
    silo = SiloData("north", tuple("abcdefg"), torch.zeros(7, 1, 2), captions)

    changed = flipped(silo)

    assert sorted(changed.captions) == list(captions)
    assert all(before != after for before, after in zip(captions, changed.captions, strict=True))
    assert changed.features is silo.features


def test_a_sticker_covers_its_corner_alone() -> None:
    """The sticker is a square of one colour in the lower right corner; the picture given stays as it was."""
    picture = Image.new("RGB", (10, 10), (1, 2, 3))

    marked = with_sticker(picture)

    covered = [(x, y) for x in range(10) for y in range(10) if marked.getpixel((x, y)) == STICKER]
    assert covered == [(x, y) for x in range(7, 10) for y in range(7, 10)]
    assert picture.getpixel((9, 9)) == (1, 2, 3)
