"""The aggregation rules on numbers that a person can check."""

import numpy as np
import pytest

from aggregator.rules import build_rule, check_rule
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice, CountRange, ParticipationPolicy
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import combine, roster

MAX = float(np.finfo(np.float32).max)


def combined(columns: list[list[float]], *, num_examples: list[int] | None = None, **choice: object) -> list[float]:
    """What a rule makes of these silos, one list of values each."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (len(columns[0]),)),))
    flat = [np.array(column, np.float32) for column in columns]
    blocks = roster(flat, spec=spec, num_examples=num_examples or [1] * len(flat))
    return combine(build_rule(Choice.model_validate(choice)), blocks).tolist()


def test_mean_weighs_by_num_examples() -> None:
    """A silo with three times the examples pulls three times as hard."""
    assert combined([[0.0, 4.0], [8.0, 0.0]], num_examples=[1, 3], name="mean") == [6.0, 1.0]


def test_mean_of_one_keeps_the_sign_of_zero() -> None:
    """One delta alone comes back bit for bit, negative zeros and subnormals included."""
    delta = [-0.0, 1e-45, -MAX, MAX]

    assert str(combined([delta], num_examples=[2**53], name="mean")) == str(np.float32(delta).tolist())


def test_mean_of_huge_weights_is_exact() -> None:
    """Weights whose sum no float holds exactly still give exact halves."""
    assert combined([[2.0], [4.0]], num_examples=[2**53, 2**53], name="mean") == [3.0]


def test_mean_adds_in_roster_order() -> None:
    """Shares and sums are float32, one silo after the other: the order is the roster's, not the sum's best."""
    columns = [[1.0], [2.0**-24], [2.0**-24], [2.0**-24]]
    share = np.float32(0.25)
    expected = np.float32(0.25)
    for column in columns[1:]:
        expected += np.float32(column[0]) * share

    assert combined(columns, name="mean") == [float(expected)]


def test_median_takes_the_middle() -> None:
    """Of three silos the middle value of each coordinate stands, whatever the weights claim."""
    columns = [[1.0, 9.0], [2.0, -1e30], [1e30, 8.0]]

    assert combined(columns, num_examples=[1, 1, 10**6], name="median") == [2.0, 8.0]


def test_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    """Four silos: the outer two do not count."""
    assert combined([[1.0], [-50.0], [2.0], [70.0]], name="median") == [1.5]


def test_median_of_huge_values_does_not_overflow() -> None:
    """The mean of the two middle values is finite although their float32 sum is not."""
    assert combined([[MAX], [MAX]], name="median") == [MAX]


@pytest.mark.parametrize("rule", ["median", "trimmed_mean"])
def test_zeros_have_one_sign(rule: str) -> None:
    """Negative zeros never decide a bit, since sorting may put them on either side of zero."""
    assert str(combined([[-0.0]] * 5, name=rule)) == "[0.0]"


def test_trimmed_mean_drops_the_extremes() -> None:
    """A fifth of five silos goes at each end of each coordinate; the other three count alike."""
    columns = [[1.0], [2.0], [3.0], [1e30], [-1e30]]

    assert combined(columns, num_examples=[9, 1, 1, 1, 1], name="trimmed_mean", trim_fraction=0.2) == [2.0]


@pytest.mark.parametrize(("trim_fraction", "num_silos", "num_kept"), [(0.29, 100, 42), (0.3, 10, 4), (0.49, 3, 1)])
def test_trimmed_mean_counts_in_decimals(trim_fraction: float, num_silos: int, num_kept: int) -> None:
    """The number trimmed is that of the decimal which the operator wrote, not of the nearest float."""
    spikes = [[0.0]] * (num_silos - 1) + [[1.0]]
    steps = [[float(silo)] for silo in range(num_silos)]
    num_trimmed = (num_silos - num_kept) // 2

    assert combined(spikes, name="trimmed_mean", trim_fraction=trim_fraction) == [0.0]
    kept = range(num_trimmed, num_silos - num_trimmed)
    assert combined(steps, name="trimmed_mean", trim_fraction=trim_fraction) == [sum(kept) / num_kept]


def test_trimmed_mean_of_nothing_trimmed_is_the_plain_mean() -> None:
    """With trim_fraction 0 every silo counts once."""
    assert combined([[1.0], [2.0], [6.0]], num_examples=[5, 1, 1], name="trimmed_mean", trim_fraction=0.0) == [3.0]


@pytest.mark.parametrize("trim_fraction", [-0.1, 0.5, 1.0, float("nan")])
def test_trim_fraction_out_of_range_is_refused(trim_fraction: float) -> None:
    """A fraction that would leave nothing is refused when the federation is created, by name."""
    with pytest.raises(FederationInvalid, match=r"strategy\.rule.*trim_fraction"):
        build_rule(Choice.model_validate({"name": "trimmed_mean", "trim_fraction": trim_fraction}))


@pytest.mark.parametrize(("trim_fraction", "least"), [(0.0, 1), (0.1, 10), (0.2, 5), (0.25, 4), (0.3, 4), (0.4, 3)])
def test_trimming_nobody_is_refused(trim_fraction: float, least: int) -> None:
    """A quorum so small that a round would trim no silo is refused at creation, not ignored."""
    choice = Choice.model_validate({"name": "trimmed_mean", "trim_fraction": trim_fraction})

    check_rule(choice, ParticipationPolicy(silos=CountRange(min=least, max=50)))
    if least > 1:
        with pytest.raises(FederationInvalid, match=f"from {least} contributions on"):
            check_rule(choice, ParticipationPolicy(silos=CountRange(min=least - 1, max=50)))


def test_unknown_rule_is_refused_with_the_known_ones() -> None:
    """A name that no rule has is refused, and the error says which there are."""
    with pytest.raises(FederationInvalid, match=r"strategy\.rule\.name: there is no 'krumm'; choose one of mean,"):
        build_rule(Choice(name="krumm"))
