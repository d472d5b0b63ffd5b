"""The Gram matrix: exact on whole numbers, within its stated bound on all others, and in any order the same bits."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from aggregator.blocks import GRAIN
from aggregator.gram import gram, norms, squared_distances
from aggregator.mixing import averaged, scaled
from isthmus.codec import F32
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import WIDE, deltas, roster, rows, values

LONG = ProjectorSpec((TensorSpec("w", "F32", (3 * GRAIN + 5,)),))


def products_of(flat: list[F32], *, spec: ProjectorSpec = LONG, length: int = GRAIN) -> np.ndarray:
    """The Gram matrix of these deltas."""
    return gram(roster(flat, spec=spec, length=length))


def test_whole_numbers_are_exact() -> None:
    """Deltas of small whole numbers have the products that integers give."""
    flat = [np.round(values(f"w{silo}", LONG.num_elements, scale=1000.0)) for silo in range(4)]
    whole = np.array(flat).astype(np.int64)

    assert products_of(flat).tolist() == [[int((a * b).sum()) for b in whole] for a in whole]


def test_products_are_those_of_rounded_deltas() -> None:
    """Each value is rounded to within 2**-22 of its grain's largest; of what that gives, nothing more is lost."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (50,)),))
    flat = [values(f"r{silo}", 50) for silo in range(3)]
    rounded = []
    for one in flat:
        step = Fraction(2) ** (int(np.frexp(np.abs(one).max())[1]) - 21)
        rounded.append([round(Fraction(float(value)) / step) * step for value in one])
    exact = [[float(sum(x * y for x, y in zip(a, b, strict=True))) for b in rounded] for a in rounded]

    assert products_of(flat, spec=spec).tolist() == exact


def test_order_of_addition_changes_no_bit() -> None:
    """Values that change places within a grain give the same bits: sums are exact, whoever adds in whatever order."""
    flat = [values(f"o{silo}", LONG.num_elements) for silo in range(5)]
    order = np.argsort(values("order", GRAIN))
    shuffled = [np.concatenate([one[:GRAIN][order], one[GRAIN:]]) for one in flat]

    assert products_of(shuffled).tobytes() == products_of(flat).tobytes()


def test_order_of_the_roster_changes_no_bit() -> None:
    """Another order of the roster gives the same products in that order."""
    flat = deltas(7, WIDE)
    order = [3, 6, 0, 2, 5, 1, 4]

    shuffled = products_of([flat[row] for row in order], spec=WIDE)

    assert shuffled.tobytes() == products_of(flat, spec=WIDE)[np.ix_(order, order)].tobytes()


@pytest.mark.parametrize("length", [2 * GRAIN, 1000 * GRAIN])
def test_length_of_blocks_changes_no_bit(length: int) -> None:
    """Sums go from grain to grain, so that no memory budget shows in them."""
    flat = deltas(5, WIDE)

    assert products_of(flat, spec=WIDE, length=length).tobytes() == products_of(flat, spec=WIDE).tobytes()


@pytest.mark.parametrize(("spike", "bound"), [(1.0, 2.0**-21), (1e6, 2.0**-17)])
def test_distances_are_within_the_stated_bound(spike: float, bound: float) -> None:
    """A distance is off by no more than the bound, as a share of both norms; the worst case is one huge value."""
    flat = [values(f"s{silo}", LONG.num_elements) for silo in range(4)]
    flat[1][7] = spike
    exact = np.array(flat).astype(np.float64)

    measured = np.sqrt(squared_distances(products_of(flat)))

    for i, a in enumerate(exact):
        for j, b in enumerate(exact):
            room = bound * (np.linalg.norm(a) + np.linalg.norm(b))
            assert abs(measured[i, j] - np.linalg.norm(a - b)) <= room


def test_equal_deltas_have_no_distance() -> None:
    """The distance of equal deltas is zero exactly, whatever lies between them in the roster."""
    first, second = deltas(2, WIDE)

    distances = squared_distances(products_of([first, second, first], spec=WIDE))

    assert (distances[0, 2], distances[2, 0], distances[0, 1] == distances[2, 1]) == (0.0, 0.0, True)


def test_norms_are_the_diagonal() -> None:
    """Norms taken alone are the roots of the Gram matrix's diagonal, bit for bit."""
    blocks = roster(deltas(5, WIDE), spec=WIDE)

    known = replace(blocks, products=gram(blocks))

    assert norms(blocks) == np.sqrt(np.diagonal(known.products)).tolist() == norms(known)


def test_extreme_values_neither_overflow_nor_vanish() -> None:
    """The largest float32, the least one and zeros have the products that float64 gives."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (2,)),))
    flat = [np.array(pair, np.float32) for pair in ([3e38, -3e38], [1e-45, 0.0], [0.0, 0.0])]
    exact = np.array(flat).astype(np.float64)

    np.testing.assert_allclose(products_of(flat, spec=spec), exact @ exact.T, rtol=2.0**-21)


def test_products_follow_linear_steps() -> None:
    """Deltas scaled and averaged have the products that were carried along, up to float32 rounding."""
    blocks = roster(deltas(5, WIDE), spec=WIDE)
    known = replace(blocks, products=gram(blocks))
    stepped = averaged(
        scaled(known, [np.float32(factor) for factor in (1.0, 0.3, 1.0, 2.0, 0.1)]), [[0, 1], [2], [1, 3, 4]]
    )
    exact = rows(stepped).astype(np.float64)

    assert stepped.products is not None
    np.testing.assert_allclose(stepped.products, exact @ exact.T, atol=1e-6 * np.abs(exact @ exact.T).max())
