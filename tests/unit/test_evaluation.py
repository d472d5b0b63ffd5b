"""What silos report of a pulled projector: bounds, the summary of a round, and when the gate flags."""

import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.evaluation import MAX_CHANGE, changes, is_flagged, median_change, quantile, summarized
from isthmus.evaluation import LOSS, MAX_LOSS, SAMPLES, Report, flaw, report_in, summary_in
from isthmus.federation import GatePolicy

LOSSES = st.floats(min_value=0.0, max_value=MAX_LOSS)
REPORTS = st.lists(st.builds(Report, LOSSES, st.integers(1, 2**53)), min_size=1, max_size=30)


def silos(losses: Sequence[float]) -> dict[str, Report]:
    """Reports of silos a, b, c... in that order, ten samples each."""
    return {chr(ord("a") + number): Report(loss, 10) for number, loss in enumerate(losses)}


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({}, ""),
        ({"train_loss": -3.0}, ""),
        ({LOSS: 0.0, SAMPLES: 1.0}, ""),
        ({LOSS: MAX_LOSS, SAMPLES: 2.0**53}, ""),
        ({LOSS: 2.5}, "held_out_loss without held_out_samples"),
        ({SAMPLES: 3.0}, "held_out_samples without held_out_loss"),
        ({LOSS: -0.001, SAMPLES: 3.0}, "held_out_loss = -0.001"),
        ({LOSS: 1.1e6, SAMPLES: 3.0}, "held_out_loss = 1.1e+06"),
        ({LOSS: float("nan"), SAMPLES: 3.0}, "held_out_loss = nan"),
        ({LOSS: float("inf"), SAMPLES: 3.0}, "held_out_loss = inf"),
        ({LOSS: 1.0, SAMPLES: 0.0}, "held_out_samples = 0"),
        ({LOSS: 1.0, SAMPLES: 2.5}, "held_out_samples = 2.5"),
        ({LOSS: 1.0, SAMPLES: float("inf")}, "held_out_samples = inf"),
    ],
)
def test_report_is_within_its_bounds_or_none(metrics: dict[str, float], words: str) -> None:
    """What is out of bounds is told by name and value, and is no report."""
    assert words == flaw(metrics)
    assert (report_in(metrics) is not None) == (LOSS in metrics and not words)


@given(REPORTS, st.integers(1, 5000))
def test_summary_is_that_of_a_plain_reference(reports: list[Report], max_samples: int) -> None:
    """Mean and quartiles are NumPy's, each silo weighing its samples up to the cap."""
    found = summarized(reports, max_samples=max_samples)

    losses = [one.loss for one in reports]
    weights = [min(one.num_samples, max_samples) for one in reports]
    assert found is not None
    assert (len(reports), sum(weights)) == (found.num_silos, found.num_samples)
    np.testing.assert_allclose(found.mean, np.average(losses, weights=weights), rtol=1e-12)
    np.testing.assert_allclose([found.q1, found.median, found.q3], np.quantile(losses, [0.25, 0.5, 0.75]), rtol=1e-12)


@given(REPORTS)
def test_summary_survives_a_manifest(reports: list[Report]) -> None:
    """A summary that was put into a manifest's metrics is read back as it was."""
    summary = summarized(reports, max_samples=1000)

    assert summary is not None
    assert summary == summary_in({"train_loss": 1.0, **summary.to_metrics()})


def test_no_reports_are_no_summary() -> None:
    """Where nobody reported there is nothing to tell."""
    assert (None, None) == (summarized([], max_samples=1), summary_in({"train_loss": 1.0}))


@given(st.lists(LOSSES, min_size=3, max_size=30), st.data())
def test_fewer_than_half_the_silos_move_no_median_out_of_the_others(honest: list[float], data: st.DataObject) -> None:
    """Whatever fewer liars than honest silos report, the median stays within what the honest ones report."""
    lies = data.draw(st.lists(LOSSES, max_size=len(honest) - 1))

    found = quantile(sorted([*honest, *lies]), 0.5)

    assert min(honest) <= found <= max(honest)


def test_weight_of_a_silo_is_capped() -> None:
    """A silo that claims all samples there are weighs as much as one with the cap."""
    found = summarized([Report(1.0, 100), Report(3.0, 2**53)], max_samples=100)

    assert found is not None
    assert (2.0, 200) == (found.mean, found.num_samples)


def test_changes_are_relative_and_paired() -> None:
    """Only silos that reported both times are compared, each with itself; from 0 every rise is the largest."""
    before = silos([2.0, 4.0, 0.0, 0.0, 5.0])
    now = {**silos([1.0, 5.0, 0.0, 0.1]), "z": Report(9.0, 1)}

    assert [-0.5, 0.0, 0.25, MAX_CHANGE] == changes(before, now)


@given(st.lists(st.floats(-1.0, MAX_CHANGE), min_size=1, max_size=30).map(sorted))
def test_median_change_is_the_lower_median(risen: list[float]) -> None:
    """The median silo's change is one that a silo reports: of an even number, the lesser of the two in the middle."""
    assert statistics.median_low(risen) == median_change(risen)


@given(
    st.lists(st.floats(-1.0, 1.0), max_size=12).map(sorted),
    st.integers(0, 12),
    st.floats(0.0, 1.0),
    st.integers(2, 6),
)
def test_gate_flags_where_most_of_enough_silos_got_worse(
    risen: list[float], more: int, tolerance: float, min_silos: int
) -> None:
    """Flagged: more than half of those compared are worse, and those are enough, and more than half of the roster."""
    worse = sum(change > tolerance for change in risen)
    num_silos = len(risen) + more

    flagged = is_flagged(risen, num_silos=num_silos, gate=GatePolicy(tolerance=tolerance, min_silos=min_silos))

    assert flagged == (worse > len(risen) / 2 and len(risen) >= min_silos and len(risen) > num_silos / 2)
