"""What a few numbers of silos say about many."""

import pytest

from benchmarks.simulate.model import Model, fit


@pytest.mark.parametrize(
    "true",
    [
        Model(2.0, 0.0, 0.0),
        Model(0.0, 0.02, 0.0),
        Model(1.0, 0.02, 0.0),
        Model(0.0, 0.02, 3e-5),
        Model(1.0, 0.02, 3e-5),
    ],
)
def test_model_finds_the_terms_that_gave_the_points(true: Model) -> None:
    """From 100 to 500 silos, a law with up to three terms is found as it is, and said of 10,000."""
    found = fit([(silos, true.at(silos)) for silos in (100, 250, 400, 500)])

    assert true.at(10_000) == pytest.approx(found.at(10_000), rel=0.01)


def test_noise_is_not_taken_for_a_square() -> None:
    """Points that lie a few percent off a straight line give one: a square would say anything of 10,000."""
    found = fit([(100, 1.02), (250, 2.45), (500, 5.1), (1000, 9.9)])

    assert (0.0, True) == (found.quadratic, abs(found.at(10_000) - 100) < 5)


def test_no_cost_is_below_zero() -> None:
    """What seems to fall with the number of silos is taken for what costs the same for any."""
    found = fit([(100, 1.2), (500, 1.0), (1000, 0.9)])

    assert (0.0, 0.0, True) == (found.linear, found.quadratic, 0.9 < found.constant < 1.2)


def test_model_says_how_far_it_is_off() -> None:
    """A residual is a share of what was measured, above zero where the model says too much."""
    assert [0.25, 0.0] == Model(0.0, 0.1, 0.0).residuals([(10, 0.8), (100, 10.0)])
