"""Rules of whole deltas on numbers that a person can check, and on the examples that ByzFL publishes.

ByzFL's examples: byzfl.epfl.ch, "Aggregators" and "Pre-Aggregators", the example of each class (numpy arrays); the same
stand in the docstrings of byzfl 0.0.11. There f is a number of silos, here a share of them: 1 of 3 is 0.34.
"""

import numpy as np
import pytest

from aggregator.rules import RULES, build_rule, check_rule
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice, CountRange, ParticipationPolicy
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import combine, roster

BYZFL = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
"""The vectors of every example."""

OF_WHOLE_DELTAS = ["krum", "multi_krum", "geometric_median", "centered_clipping", "robust"]

HONEST = [[1.0, 0.0], [1.25, 0.25], [0.75, -0.25], [1.25, -0.25], [0.75, 0.25], [1.0, 0.25]]
"""Six silos around (1, 0)."""


def combined(columns: list[list[float]], *, num_examples: list[int] | None = None, **choice: object) -> list[float]:
    """What a rule makes of these silos, one list of values each."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (len(columns[0]),)),))
    flat = [np.array(column, np.float32) for column in columns]
    blocks = roster(flat, spec=spec, num_examples=num_examples or [1] * len(flat))
    return combine(build_rule(Choice.model_validate(choice)), blocks).tolist()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"name": "mean"}, [4.0, 5.0, 6.0]),
        ({"name": "median"}, [4.0, 5.0, 6.0]),
        ({"name": "trimmed_mean", "trim_fraction": 0.34}, [4.0, 5.0, 6.0]),
        ({"name": "krum", "hostile_fraction": 0.34}, [1.0, 2.0, 3.0]),
        ({"name": "multi_krum", "hostile_fraction": 0.34}, [2.5, 3.5, 4.5]),
        (
            {"name": "geometric_median", "iterations": 3, "smoothing": 0.1 / 77**0.5},  # nu is 0.1, the median norm
            [3.78788764, 4.78788764, 5.78788764],
        ),
        ({"name": "centered_clipping", "iterations": 1, "radius": 100.0}, [4.0, 5.0, 6.0]),
        ({"name": "robust", "hostile_fraction": 0.34}, [2.5, 3.5, 4.5]),  # TrMean(1) of what NNM(1) gives
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_examples_of_byzfl(choice: dict[str, object], expected: list[float]) -> None:
    """What ByzFL publishes for Average, Median, TrMean and its rules of whole deltas comes out."""
    assert combined(BYZFL, **choice) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("name", OF_WHOLE_DELTAS)
@pytest.mark.parametrize("hostile", [[1e30, 1e30], [-3.0, 0.0], [1.0, 40.0]])
def test_one_hostile_silo_moves_little(name: str, hostile: list[float]) -> None:
    """One of seven, wherever it lies, moves the result by no more than the honest silos' own spread."""
    moved = combined([*HONEST, hostile], name=name)

    assert np.abs(np.array(moved) - (1.0, 0.0)).max() <= 0.36


@pytest.mark.parametrize("name", OF_WHOLE_DELTAS)
def test_claimed_weights_are_ignored(name: str) -> None:
    """A silo that claims a million examples counts no more than any other."""
    claims = [10**6, 1, 1, 1, 1, 1]

    assert combined(HONEST, num_examples=claims, name=name) == combined(HONEST, name=name)


def test_krum_gives_a_delta_and_the_earlier_of_equals() -> None:
    """Krum's result is one of the deltas; two pairs of equal distance have equal scores, and the earlier counts."""
    pairs = [[0.0], [1.0], [10.0], [11.0]]

    assert combined(pairs, name="krum", hostile_fraction=0.3) == [0.0]
    assert combined(pairs[::-1], name="krum", hostile_fraction=0.3) == [11.0]


def test_krum_is_not_the_most_central_delta() -> None:
    """Only the n - f - 2 nearest count: a tight group wins over a delta in the middle of all."""
    silos = [[0.0], [0.1], [0.2], [5.0], [9.0], [9.5], [10.0]]

    assert combined(silos, name="krum", hostile_fraction=0.43) == [pytest.approx(0.1)]


def test_multi_krum_leaves_the_hostile_ones_out() -> None:
    """The mean of the n - f best: two of seven go, and they are the two far ones."""
    silos = [[1.0], [2.0], [3.0], [4.0], [5.0], [1e6], [-1e6]]

    assert combined(silos, name="multi_krum", hostile_fraction=0.3) == [3.0]


def test_geometric_median_of_a_majority_is_its_point() -> None:
    """Where more than half of the silos agree, their delta is the geometric median."""
    measured = combined([[1.0, 1.0]] * 4 + [[9.0, 0.0], [-5.0, 7.0], [0.0, 1e6]], name="geometric_median")

    assert measured == pytest.approx([1.0, 1.0], abs=1e-4)


def test_geometric_median_leaves_a_point_near_zero() -> None:
    """It starts from zero: a delta that lies there draws the first step to itself, and the later ones leave it."""
    silos = [[1e-12, 0.0], [2.0, 0.0], [2.0, 0.5], [2.0, -0.5], [2.5, 0.0]]

    assert combined(silos, name="geometric_median")[0] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("name", OF_WHOLE_DELTAS)
def test_zeros_are_combined_to_zero(name: str) -> None:
    """A roster of zeros alone, or mostly of zeros, has no direction, and no division by zero."""
    assert combined([[0.0, 0.0]] * 5, name=name) == [0.0, 0.0]
    assert combined([[0.0, 0.0]] * 4 + [[1.0, 2.0]], name=name) == pytest.approx([0.0, 0.0], abs=0.3)


def test_geometric_median_of_mostly_zeros_is_next_to_zero() -> None:
    """Where the median norm is zero, the smoothing follows the least one that is not: no hidden constant acts."""
    assert 0.0 <= combined([[0.0]] * 4 + [[1e-12]], name="geometric_median")[0] < 1e-17


def test_centered_clipping_of_a_wide_radius_is_the_mean() -> None:
    """Where no delta is clipped one step gives the plain mean; a small radius keeps a far delta from counting."""
    silos = [[0.0], [1.0], [2.0], [3.0], [4.0], [50.0]]

    assert combined(silos, name="centered_clipping", radius=1e6, iterations=1) == [pytest.approx(10.0)]
    assert combined(silos, name="centered_clipping", radius=0.1)[0] < 3.0


@pytest.mark.parametrize(
    ("name", "fraction", "least"),
    [
        ("krum", 0.0, 3),
        ("krum", 0.1, 10),
        ("krum", 0.2, 5),
        ("krum", 0.3, 8),
        ("multi_krum", 0.4, 15),
        ("robust", 0.1, 10),
        ("robust", 0.2, 5),
        ("robust", 0.4, 3),
    ],
)
def test_least_silos_follow_from_the_fraction(name: str, fraction: float, least: int) -> None:
    """A quorum so small that the promise would not hold is refused at creation: n >= 2 f + 3, or none left out."""
    choice = Choice.model_validate({"name": name, "hostile_fraction": fraction})

    check_rule(choice, ParticipationPolicy(silos=CountRange(min=least, max=50)))
    with pytest.raises(FederationInvalid, match=f"from {least} contributions on"):
        check_rule(choice, ParticipationPolicy(silos=CountRange(min=max(least - 1, 1), max=50)))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.3, 0.34, 0.4, 0.45])
def test_krums_condition_holds_for_every_larger_roster(fraction: float) -> None:
    """From the least number on, every roster has n >= 2 f + 3 and f >= 1."""
    options = RULES["krum"].options.model_validate({"hostile_fraction": fraction})

    for num_silos in range(RULES["krum"].least_silos(options), 200):
        assert num_silos >= 2 * options.most_hostile(num_silos) + 3 >= 5


@pytest.mark.parametrize("name", ["krum", "multi_krum", "robust"])
@pytest.mark.parametrize("fraction", [-0.1, 0.5, float("nan")])
def test_half_or_more_hostile_silos_are_refused(name: str, fraction: float) -> None:
    """No rule bears a majority; a fraction that says so is refused by name."""
    with pytest.raises(FederationInvalid, match=r"strategy\.rule.*hostile_fraction"):
        build_rule(Choice.model_validate({"name": name, "hostile_fraction": fraction}))
