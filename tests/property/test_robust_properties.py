"""The rules and pre-steps of whole deltas against plain float64 on whole deltas, and against the roster's order.

Deltas here are small whole numbers where a decision is compared: their products are exact in both, and so are ties.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.pre_steps import build_pre_steps
from aggregator.rules import build_rule
from isthmus.federation import Choice
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import combine, deltas, roster, rows

COUNT = 12
SPEC = ProjectorSpec((TensorSpec("w", "F32", (COUNT,)),))
WHOLE = st.lists(st.lists(st.integers(-9, 9), min_size=COUNT, max_size=COUNT), min_size=1, max_size=11).map(
    lambda silos: np.array(silos, np.float64)
)
FRACTIONS = st.sampled_from([0.0, 0.1, 0.2, 0.34, 0.45])


def combined(flat: np.ndarray, **choice: object) -> np.ndarray:
    """What a rule makes of these deltas."""
    blocks = roster([one.astype(np.float32) for one in flat], spec=SPEC)
    return combine(build_rule(Choice.model_validate(choice)), blocks).astype(np.float64)


def stepped(flat: np.ndarray, *, seed: bytes = b"", **choice: object) -> np.ndarray:
    """What a pre-step makes of these deltas."""
    blocks = roster([one.astype(np.float32) for one in flat], spec=SPEC, seed=seed)
    return rows(build_pre_steps([Choice.model_validate(choice)])[0](blocks)).astype(np.float64)


def squares(flat: np.ndarray) -> np.ndarray:
    """Squared distances, from differences."""
    return ((flat[:, None] - flat[None, :]) ** 2).sum(axis=2)


def krum_order(flat: np.ndarray, fraction: float) -> tuple[list[int], int]:
    """Rows by their Krum score, and f: from the paper's definition."""
    num_silos = len(flat)
    num_hostile = math.floor(fraction * num_silos)
    others = [np.delete(row, own) for own, row in enumerate(squares(flat))]
    scores = [np.sort(row)[: max(num_silos - num_hostile - 2, 1)].sum() for row in others]
    return list(np.argsort(scores, kind="stable")), num_hostile


@settings(max_examples=60, deadline=None)
@given(flat=WHOLE, fraction=FRACTIONS)
def test_krum_chooses_what_the_definition_chooses(flat, fraction) -> None:
    """Krum gives the delta of the least score, ties by the roster; Multi-Krum the mean of the n - f best."""
    order, num_hostile = krum_order(flat, fraction)
    kept = flat[sorted(order[: len(flat) - num_hostile])]

    assert combined(flat, name="krum", hostile_fraction=fraction).tolist() == flat[order[0]].tolist()
    measured = combined(flat, name="multi_krum", hostile_fraction=fraction)
    np.testing.assert_allclose(measured, kept.mean(axis=0), atol=1e-5)


def weiszfeld(flat: np.ndarray, iterations: int, smoothing: float) -> np.ndarray:
    """The smoothed Weiszfeld algorithm on whole deltas."""
    lengths = np.sort(np.linalg.norm(flat, axis=1))
    typical = lengths[(len(lengths) - 1) // 2] or next((length for length in lengths if length), 1.0)
    point = np.zeros(flat.shape[1])
    for _ in range(iterations):
        weights = 1.0 / np.maximum(smoothing * typical, np.linalg.norm(flat - point, axis=1))
        point = (weights[:, None] * flat).sum(axis=0) / weights.sum()
    return point


@settings(max_examples=60, deadline=None)
@given(flat=WHOLE, iterations=st.integers(1, 32))
def test_geometric_median_is_weiszfelds(flat, iterations) -> None:
    """Steps taken on inner products end where the same steps end that are taken on whole deltas."""
    measured = combined(flat, name="geometric_median", iterations=iterations, smoothing=1e-3)

    np.testing.assert_allclose(measured, weiszfeld(flat, iterations, 1e-3), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), num_silos=st.integers(3, 9))
def test_geometric_median_is_one(seed, num_silos) -> None:
    """No point around it has a smaller sum of distances to the deltas."""
    flat = np.array(deltas(num_silos, SPEC, name=f"gm-{seed}")).astype(np.float64)
    found = combined(flat, name="geometric_median", iterations=1000)
    least = np.linalg.norm(flat - found, axis=1).sum()

    for direction in deltas(6, SPEC, name=f"direction-{seed}"):
        assert np.linalg.norm(flat - found - 0.1 * direction, axis=1).sum() >= least * (1 - 1e-6)


@settings(max_examples=60, deadline=None)
@given(flat=WHOLE, radius=st.sampled_from([0.1, 0.5, 1.0, 3.0]), iterations=st.integers(1, 5))
def test_centered_clipping_is_the_papers(flat, radius, iterations) -> None:
    """The last centre is that of the paper's step on whole deltas, from the geometric median on."""
    centre = weiszfeld(flat, 32, 1e-6)
    farthest = radius * np.sort(np.linalg.norm(flat - centre, axis=1))[(len(flat) - 1) // 2]
    for _ in range(iterations):
        distances = np.linalg.norm(flat - centre, axis=1)
        pulls = np.where(distances > farthest, farthest / np.maximum(distances, 1e-300), 1.0)
        centre = centre + (pulls[:, None] * (flat - centre)).mean(axis=0)

    measured = combined(flat, name="centered_clipping", radius=radius, iterations=iterations)

    np.testing.assert_allclose(measured, centre, atol=1e-3)


def mixed(flat: np.ndarray, fraction: float) -> np.ndarray:
    """Nearest-neighbour mixing on whole deltas."""
    kept = len(flat) - math.floor(fraction * len(flat))
    return np.array([flat[np.argsort(row, kind="stable")[:kept]].mean(axis=0) for row in squares(flat)])


@settings(max_examples=60, deadline=None)
@given(flat=WHOLE, fraction=FRACTIONS)
def test_mixing_is_the_papers(flat, fraction) -> None:
    """Each delta becomes the mean of its n - f nearest; `robust` is the trimmed mean of these."""
    expected = mixed(flat, fraction)
    num_trimmed = math.floor(fraction * len(flat))
    trimmed = np.sort(expected, axis=0)[num_trimmed : len(flat) - num_trimmed].mean(axis=0)

    np.testing.assert_allclose(stepped(flat, name="nnm", hostile_fraction=fraction), expected, atol=1e-5)
    np.testing.assert_allclose(combined(flat, name="robust", hostile_fraction=fraction), trimmed, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(flat=WHOLE, limit=st.one_of(st.none(), st.floats(0.5, 50.0)))
def test_clipping_is_the_definition(flat, limit) -> None:
    """A delta longer than the limit, or than the median of the norms, is scaled to it; no other changes."""
    lengths = np.linalg.norm(flat, axis=1)
    most = limit or np.sort(lengths)[(len(lengths) - 1) // 2]
    expected = flat * np.where(lengths > most, most / np.maximum(lengths, 1e-300), 1.0)[:, None]

    measured = stepped(flat, name="norm_clip", **({"max_norm": limit} if limit else {}))

    np.testing.assert_allclose(measured, expected, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(flat=WHOLE, size=st.integers(1, 12), seed=st.binary(max_size=4))
def test_buckets_share_the_roster_out(flat, size, seed) -> None:
    """Buckets weighed by their members have the mean of all deltas: every delta is in one bucket, and in one alone."""
    buckets = stepped(flat, name="bucketing", bucket_size=size, seed=seed)
    members = np.full(len(buckets), size)
    members[-1] = len(flat) - size * (len(buckets) - 1)

    assert len(buckets) == math.ceil(len(flat) / size)
    np.testing.assert_allclose(np.average(buckets, axis=0, weights=members), flat.mean(axis=0), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(claims=st.lists(st.integers(1, 10**9), min_size=1, max_size=12), share=st.sampled_from([0.1, 0.2, 0.5, 0.9]))
def test_weights_are_capped(claims, share) -> None:
    """No share is above the cap, unless all are alike; claims below it stay, and it is no lower than it must be."""
    flat = deltas(len(claims), SPEC)
    blocks = roster(flat, spec=SPEC, num_examples=claims)
    capped = build_pre_steps([Choice.model_validate({"name": "weight_cap", "max_share": share})])[0](
        blocks
    ).num_examples
    cap = max(capped)

    assert cap <= share * sum(capped) * (1 + 1e-9) or len(set(capped)) == 1
    assert all(now == claim or now == cap < claim for now, claim in zip(capped, claims, strict=True))
    assert cap == max(claims) or cap >= share * sum(capped) * (1 - 1e-9)


@pytest.mark.parametrize(
    "name", ["krum", "multi_krum", "geometric_median", "centered_clipping", "robust", "mean", "trimmed_mean"]
)
@settings(max_examples=20, deadline=None)
@given(num_silos=st.integers(5, 9), seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_order_of_the_roster_does_not_matter(name, num_silos, seed, order) -> None:
    """Rules give the same for any order of the roster, up to rounding; only ties are decided by it."""
    flat = np.array(deltas(num_silos, SPEC, name=f"order-{seed}"))
    shuffled = list(range(num_silos))
    order.shuffle(shuffled)
    weights = range(1, num_silos + 1)
    rule = build_rule(Choice(name=name))

    plain = combine(rule, roster(list(flat), spec=SPEC, num_examples=weights))
    again = combine(rule, roster(list(flat[shuffled]), spec=SPEC, num_examples=[weights[row] for row in shuffled]))

    np.testing.assert_allclose(again, plain, atol=1e-5)
