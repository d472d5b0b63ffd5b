"""What holds of Fed-CMP for every roster: its basis, its symmetries, its bits."""

from random import Random

import numpy as np
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.blocks import F64, GRAIN
from aggregator.fed_cmp.basis import Spectrum, spectra
from aggregator.fed_cmp.extrapolation import EXTRAPOLATIONS
from aggregator.fed_cmp.momentum import Remembered, moved, polar, procrustes, tangent
from aggregator.fed_cmp.reliability import CONSENSUS, MEASURES, reliable_shares
from aggregator.matrices import Matrix, MatrixRound, matrices_of, row_tiles
from isthmus.codec import F32
from isthmus.contribution import READABLE, Encoding
from isthmus.federation import Choice
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import deltas, payload, payload_bytes, roster, run_round, values, values_of

SHAPES = st.tuples(st.integers(1, 150), st.integers(1, 60))
SEEDS = st.integers(0, 1000).map(str)


def spec_of(shape: tuple[int, int]) -> ProjectorSpec:
    """A bias and one matrix."""
    return ProjectorSpec((TensorSpec("b", "F32", (shape[0],)), TensorSpec("w", "F32", shape)))


def spectrum(flat: list[F32], spec: ProjectorSpec, *, length: int = GRAIN) -> Spectrum:
    """The five leading directions of deltas alone."""
    seen = MatrixRound(spec, payload(payload_bytes(flat[0], spec)), {}, 1 << 30)
    [(_, found)] = spectra(
        roster(flat, spec=spec, length=length), seen, matrices_of(spec), rank=5, with_base=False
    ).items()
    return found


def orthonormal(rows: int, columns: int, name: str) -> F64:
    """Orthonormal columns that follow from the name."""
    return np.linalg.qr(values(name, rows * columns).reshape(rows, columns).astype(np.float64))[0]


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, num_silos=st.integers(1, 4), seed=SEEDS, rank=st.integers(1, 60))
def test_basis_is_orthonormal(shape: tuple[int, int], num_silos: int, seed: str, rank: int) -> None:
    """Directions are orthonormal, by falling energy, and hold no more than there is: tall, wide, of any rank."""
    spec = spec_of(shape)
    flat = [one * (rank + index) for index, one in enumerate(deltas(num_silos, spec, name=seed))]
    if rank < min(shape):  # no delta's matrix has a higher rank
        for one in flat:
            matrix = one[shape[0] :].reshape(shape)
            matrix[rank:] = matrix[0]

    found = spectrum(flat, spec)

    count = found.vectors.shape[1]
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(count), atol=1e-12)
    assert (np.diff(found.energies) <= 0).all()
    assert found.energies.sum() <= found.trace * (1 + 1e-9)
    exact = np.linalg.svd(np.hstack([one[shape[0] :].reshape(shape) for one in flat]).astype(np.float64))[1] ** 2
    if shape[0] <= 60:  # the space that is searched is everything
        np.testing.assert_allclose(found.energies, exact[:count], rtol=1e-9, atol=1e-9 * exact[0])


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, num_silos=st.integers(1, 4), seed=SEEDS, signs=st.lists(st.sampled_from((-1, 1)), min_size=4))
def test_basis_ignores_the_sign_of_each_silo(
    shape: tuple[int, int], num_silos: int, seed: str, signs: list[int]
) -> None:
    """Matrices that a silo turned to their negative have the same directions and energies, bit for bit."""
    spec = spec_of(shape)
    flat = deltas(num_silos, spec, name=seed)

    turned = spectrum([one * np.float32(sign) for one, sign in zip(flat, signs, strict=False)], spec)

    found = spectrum(flat, spec)
    assert (found.vectors.tobytes(), found.energies.tobytes()) == (turned.vectors.tobytes(), turned.energies.tobytes())


@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES,
    seed=SEEDS,
    order=st.permutations(range(4)),
    reliability=st.sampled_from(list(MEASURES)),
    extrapolation=st.sampled_from(list(EXTRAPOLATIONS)),
    space=st.sampled_from(["weights", "deltas"]),
)
def test_order_of_silos_does_not_matter(
    *, shape: tuple[int, int], seed: str, order: list[int], reliability: str, extrapolation: str, space: str
) -> None:
    """Another order of the roster gives the same projector, up to rounding."""
    spec, flat = spec_of(shape), deltas(4, spec_of(shape), name=seed)
    chosen = {"reliability": reliability, "extrapolation": extrapolation, "space": space, "energy": 1.0}
    rule = Choice.model_validate({"name": "fed_cmp", **chosen})

    def published(rows: list[int]) -> F32:
        outcome = run_round(
            [flat[row] for row in rows],
            base=payload_bytes(values("base", spec.num_elements), spec),
            spec=spec,
            num_examples=[row + 1 for row in rows],
            rule=rule,
        )
        return values_of(outcome.projector, spec.num_elements)

    np.testing.assert_allclose(published(order), published([0, 1, 2, 3]), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, seed=SEEDS, budget_mib=st.integers(12, 64), encoding=st.sampled_from(READABLE))
def test_bits_do_not_depend_on_the_budget(
    shape: tuple[int, int], seed: str, budget_mib: int, encoding: Encoding
) -> None:
    """A second round, from the first one's state, gives the same bits for every memory budget, and when repeated."""
    spec, rule = spec_of(shape), Choice.model_validate({"name": "fed_cmp", "beta": 0.5})
    base = payload_bytes(values("base", spec.num_elements), spec)
    first = run_round(deltas(3, spec, name=seed), base=base, spec=spec, rule=rule)

    again = [
        run_round(
            deltas(3, spec, name=f"{seed}-2"),
            base=first.projector,
            state=first.state,
            spec=spec,
            rule=rule,
            encoding=encoding,
            memory_budget_bytes=mib << 20,
        )
        for mib in (budget_mib, 256, 256)
    ]

    assert again[0] == again[1] == again[2]


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(st.integers(1, 200), st.integers(1, 70)), grains=st.integers(1, 9))
def test_tiles_are_the_matrix(shape: tuple[int, int], grains: int) -> None:
    """Tiles laid one below the other are every silo's matrix, whatever the length of the blocks."""
    spec, flat = spec_of(shape), deltas(3, spec_of(shape))

    tiles = [
        tile.values.copy() for tile in row_tiles(roster(flat, spec=spec, length=grains * GRAIN), matrices_of(spec))
    ]

    assert np.array_equal(np.concatenate(tiles, axis=1), np.stack([one[shape[0] :].reshape(shape) for one in flat]))
    assert {tile.shape[1] for tile in tiles[:-1]} <= {64}


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 60), seed=SEEDS, beta=st.floats(0.0, 0.99), scale=st.floats(0.0, 3.0), data=st.data())
def test_momentum_keeps_the_basis_orthonormal(
    *, rows: int, seed: str, beta: float, scale: float, data: st.DataObject
) -> None:
    """After any step the basis is orthonormal and the momentum tangent to where it was aligned."""
    rank = data.draw(st.integers(1, rows))
    before = Remembered(orthonormal(rows, rank, f"{seed}-before"), scale * orthonormal(rows, rank, f"{seed}-momentum"))
    vectors = orthonormal(rows, rank, seed)

    step = moved(vectors, before, beta=beta)

    for basis in (step.vectors, step.remembered.basis):
        np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-11)
    aligned = vectors @ procrustes(vectors, before.basis)
    inner = aligned.T @ step.remembered.momentum
    np.testing.assert_allclose(inner, -inner.T, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 40), seed=SEEDS, beta=st.floats(0.0, 0.99), data=st.data())
def test_momentum_ignores_how_directions_are_turned(rows: int, seed: str, beta: float, data: st.DataObject) -> None:
    """Signs, order and rotations of the new directions among themselves change neither the subspace nor the state."""
    rank = data.draw(st.integers(1, max(1, rows // 2)))
    vectors = orthonormal(rows, rank, seed)
    before = Remembered(
        orthonormal(rows, rank, f"{seed}-before"), tangent(vectors, orthonormal(rows, rank, f"{seed}-momentum"))
    )
    turn = orthonormal(rank, rank, f"{seed}-turn")

    plain, turned = moved(vectors, before, beta=beta), moved(vectors @ turn, before, beta=beta)

    closeness = np.linalg.svd(vectors.T @ before.basis)[1].min()
    bound = 1e-10 / max(closeness, 1e-10)  # Procrustes is as sure as the bases are near
    np.testing.assert_allclose(turned.remembered.basis, plain.remembered.basis, atol=bound)
    np.testing.assert_allclose(turned.vectors, plain.vectors @ turn, atol=bound)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 8), seed=SEEDS)
def test_polar_is_the_nearest(rows: int, columns: int, seed: str) -> None:
    """The polar factor is that of the singular value decomposition: no orthonormal matrix is nearer."""
    basis = orthonormal(rows, min(rows, columns), seed)
    matrix = basis + tangent(basis, values(f"{seed}-step", basis.size).reshape(basis.shape).astype(np.float64))

    left, _, right = np.linalg.svd(matrix, full_matrices=False)

    np.testing.assert_allclose(polar(matrix), left @ right, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    num_silos=st.integers(1, 6),
    seed=SEEDS,
    measure=st.sampled_from(list(MEASURES)),
    consensus=st.sampled_from(list(CONSENSUS)),
)
def test_reliable_shares_are_shares(num_silos: int, seed: str, measure: str, consensus: str) -> None:
    """Shares are at least 0 and sum to 1; one silo has all; silos that agree keep what num_examples give them."""
    rows = values(seed, num_silos * 12).reshape(num_silos, 3, 4).astype(np.float64)
    products = np.einsum("kic,lic->ikl", rows, rows)
    shares = np.arange(1.0, num_silos + 1) / np.arange(1.0, num_silos + 1).sum()

    found = reliable_shares(products, shares, measure=measure, consensus=consensus, temperature=0.5)

    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    alike = reliable_shares(np.ones_like(products), shares, measure=measure, consensus=consensus, temperature=0.5)
    np.testing.assert_allclose(alike, np.ones((3, 1)) * shares, rtol=1e-9)
    if num_silos == 1 or measure == "uniform":
        np.testing.assert_allclose(found, np.ones((3, 1)) * shares, rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    num_silos=st.integers(1, 6),
    seed=SEEDS,
    extrapolation=st.sampled_from(list(EXTRAPOLATIONS)),
    scale=st.sampled_from((0.0, 1e-30, 1.0, 1e12)),
    order=st.randoms(use_true_random=False),
)
def test_gains_are_bounded(*, num_silos: int, seed: str, extrapolation: str, scale: float, order: Random) -> None:
    """Gains are 1 at least, no more than orthogonal steps are shortened by, of no scale, and of no order of silos."""
    rows = values(seed, num_silos * 12).reshape(num_silos, 3, 4).astype(np.float64)
    shares = np.ones((3, 1)) * (np.arange(1.0, num_silos + 1) / np.arange(1.0, num_silos + 1).sum())
    turned = order.sample(range(num_silos), num_silos)

    def gains(rows: F64, fused: F64) -> F64:
        return EXTRAPOLATIONS[extrapolation](np.einsum("kic,lic->ikl", rows, rows), fused)

    found = gains(rows, shares)

    assert found.shape == (3, 1)
    assert (found >= 1.0).all()
    assert (found <= (1.0 / np.linalg.norm(shares, axis=1) + 1e-12)[:, None]).all()
    np.testing.assert_allclose(gains(rows[turned], shares[:, turned]), found, rtol=1e-9)
    np.testing.assert_allclose(gains(rows * scale, shares), found if scale else np.ones((3, 1)), rtol=1e-9)
    assert np.array_equal(gains(np.broadcast_to(rows[0], rows.shape), shares), np.ones((3, 1)))


def test_state_is_of_the_spec_whatever_the_rank() -> None:
    """The tensors of the state follow from the projector's spec alone: directions that are not used are zeros."""
    spec = spec_of((90, 50))
    rule = Choice.model_validate({"name": "fed_cmp", "energy": 0.2, "rank": 30, "beta": 0.5})

    state = safetensors.numpy.load(
        run_round(
            deltas(3, spec), base=payload_bytes(values("base", spec.num_elements), spec), spec=spec, rule=rule
        ).state
    )

    assert {name: tensor.shape for name, tensor in state.items()} == {"basis/w": (90, 30), "basis_momentum/w": (90, 30)}
    used = np.abs(state["basis/w"]).max(axis=0) > 0
    assert 0 < used.sum() < 30
    assert list(used) == sorted(used, reverse=True)
    assert matrices_of(spec) == [Matrix("w", 90, 50, 90)]
