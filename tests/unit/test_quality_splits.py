"""Splits of the quality benchmark are partitions, repeat by the seed, and are skewed as they say."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.splits import SPLITS, Labels, dirichlet

TOPICS, VENDORS = "abcdef", "xyz"


def labels_of(num_concepts: int) -> Labels:
    """Pictures of three vendors each, topics in turn."""
    return [(TOPICS[number % 6], vendor) for number in range(num_concepts) for vendor in VENDORS]


@pytest.mark.parametrize("name", SPLITS)
@settings(max_examples=20, deadline=None)
@given(num_concepts=st.integers(240, 300), seed=st.integers(0, 1000))
def test_a_split_is_a_partition(name: str, num_concepts: int, seed: int) -> None:
    """Every picture lies at exactly one silo, no silo is empty, and the seed alone decides."""
    labels = labels_of(num_concepts)
    indices = [index for index in range(len(labels)) if index % 3 != seed % 3]

    parts = SPLITS[name](labels, indices, seed=seed)

    assert sorted(index for part in parts.values() for index in part) == indices
    assert all(parts.values())
    assert SPLITS[name](labels, indices, seed=seed) == parts


def test_topics_and_vendors_are_kept_apart() -> None:
    """A silo of the topic split has one topic of all vendors; of the vendor split one vendor of all topics."""
    labels = labels_of(60)
    everything = range(len(labels))

    for part in SPLITS["topic"](labels, everything, seed=1).values():
        assert len({labels[index][0] for index in part}) == 1
        assert {labels[index][1] for index in part} == set(VENDORS)
    for part in SPLITS["vendor"](labels, everything, seed=1).values():
        assert {labels[index][0] for index in part} == set(TOPICS)
        assert len({labels[index][1] for index in part}) == 1


def test_sizes_double() -> None:
    """Each silo of unequal sizes has about twice the pictures of the one before."""
    labels = labels_of(105)

    sizes = [len(part) for part in SPLITS["sizes"](labels, range(len(labels)), seed=3).values()]

    assert sizes == [5, 10, 20, 40, 80, 160]


def test_a_small_alpha_skews_labels() -> None:
    """With a small alpha a silo's commonest topic is most of it; with a large one it is about its share of all."""
    labels = labels_of(240)

    def commonest(alpha: float) -> float:
        parts = dirichlet(labels, range(len(labels)), seed=5, alpha=alpha)
        tops = [max(Counter(labels[index][0] for index in part).values()) / len(part) for part in parts.values()]
        return sum(tops) / len(tops)

    assert commonest(0.1) > 0.6
    assert commonest(1000.0) < 0.25


def test_too_few_pictures_are_refused() -> None:
    """A Dirichlet split that cannot give each silo its least number of pictures says so in place of trying forever."""
    with pytest.raises(ValueError, match="17 pictures do not give 6 silos at least 8 each"):
        dirichlet(labels_of(60), range(17), seed=0)
