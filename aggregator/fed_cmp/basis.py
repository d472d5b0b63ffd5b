"""The shared alignment basis: leading left singular vectors of all silos' matrices side by side, [W_1 ... W_K].

These are the leading eigenvectors of A = sum over k of W_k W_k^T, [rows, rows], which is never formed: at 5120 rows it
and its eigenvectors would take more than a replica's memory budget, and many minutes.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from aggregator.blocks import F64, RosterBlocks
from aggregator.fed_cmp.passes import applied, projected
from aggregator.matrices import Matrix, MatrixRound

OVERSAMPLING = 16
"""Directions tried beside those that are wanted."""

STEPS = 3
"""Times that A is applied, two passes each."""

_ROUNDING = 1e-10
"""A direction with less of the largest eigenvalue than this is made of rounding."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Directions of one matrix, most energy first.

    Attributes:
        vectors: Orthonormal columns, float64 [rows, count]; the largest entry of each, the first of equals, is
            positive. None at all where the matrices are zero.
        energies: Their eigenvalues of A, float64 [count], above 0.
        trace: The sum of all eigenvalues of A.
    """

    vectors: F64
    energies: F64
    trace: float


@dataclass(frozen=True, slots=True)
class _Search:
    """A Krylov space on its way: orthonormal columns, and A times these, float64 [rows, width]."""

    vectors: F64
    images: F64
    trace: float
    next: F64


def block_width(matrix: Matrix, *, rank: int) -> int:
    """Directions that one step tries."""
    return min(matrix.rows, rank + OVERSAMPLING)


def spectra(
    roster: RosterBlocks, seen: MatrixRound, matrices: Collection[Matrix], *, rank: int, with_base: bool
) -> dict[Matrix, Spectrum]:
    """Up to `rank` leading directions of each matrix.

    Block Lanczos with full orthogonalisation: the space spanned by X, A X, A^2 X, with X of random signs that are the
    same each time, and the best that A has in it (Rayleigh-Ritz). Where that space is everything (up to 3 (rank + 16)
    rows) they are the eigenvectors up to rounding; beyond, the last of them are approximations.

    Source:
        Musco and Musco, Randomized Block Krylov Methods for Stronger and Faster Approximate Singular Value
        Decomposition, NeurIPS 2015, Algorithm 2. Deviations: signs instead of normal numbers; from the left, since
        the blocks of [W_1 ... W_K] come in any order.
    """
    searches = {matrix: _begun(matrix, rank=rank) for matrix in matrices}
    for _ in range(STEPS):
        ahead = {matrix: search.next for matrix, search in searches.items() if search.next.shape[1]}
        if not ahead:
            break
        images = applied(roster, seen, projected(roster, seen, ahead, with_base=with_base), with_base=with_base)
        for matrix, image in images.items():
            searches[matrix] = _extended(searches[matrix], image.values, trace=image.trace)
    return {matrix: _spectrum(search, rank=rank) for matrix, search in searches.items()}


def _begun(matrix: Matrix, *, rank: int) -> _Search:
    width = block_width(matrix, rank=rank)
    empty = np.empty((matrix.rows, 0))
    first: F64 = np.eye(matrix.rows) if width == matrix.rows else _orthonormal(_signs(matrix.rows, width))
    return _Search(empty, empty, 0.0, first)


def _signs(rows: int, width: int) -> F64:
    """Random signs that no library's version changes, float64 [rows, width]."""
    stream = hashlib.shake_256(f"fed_cmp {rows} {width}".encode()).digest(-(-rows * width // 8))
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=rows * width)
    signs: F64 = bits.reshape(rows, width).astype(np.float64) * 2.0 - 1.0
    return signs


def _extended(search: _Search, image: F64, *, trace: float) -> _Search:
    """One step further. QR of all columns together: orthonormal even where the image adds nothing new."""
    vectors = np.hstack([search.vectors, search.next])
    images = np.hstack([search.images, image])
    further = _orthonormal(np.hstack([vectors, image]))[:, vectors.shape[1] :]
    return _Search(vectors, images, trace, further)


def _orthonormal(columns: F64) -> F64:
    """Householder QR: as many orthonormal columns as there is room for, the first spanning what the first ones span."""
    return np.asarray(np.linalg.qr(columns)[0], np.float64)


def _spectrum(search: _Search, *, rank: int) -> Spectrum:
    """Rayleigh-Ritz: the eigenvectors of A within the space."""
    inner = search.vectors.T @ search.images
    energies, combinations = np.linalg.eigh((inner + inner.T) / 2.0)
    energies, combinations = energies[::-1][:rank], combinations[:, ::-1][:, :rank]
    kept = int(np.sum(energies > _ROUNDING * max(energies[0], 0.0)))
    return Spectrum(signed(search.vectors @ combinations[:, :kept]), energies[:kept], search.trace)


def signed(vectors: F64) -> F64:
    """The same columns, each with its largest entry (the first of equals) positive."""
    if not vectors.shape[1]:
        return vectors
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    flipped: F64 = vectors * np.where(largest < 0.0, -1.0, 1.0)
    return flipped


def rank_by_energy(spectrum: Spectrum, energy: float) -> int:
    """The fewest leading directions that hold this share of the trace; all of them where that is not enough."""
    held = np.cumsum(spectrum.energies) >= energy * spectrum.trace * (1.0 - 1e-12)
    return int(held.argmax()) + 1 if held.any() else len(held)
