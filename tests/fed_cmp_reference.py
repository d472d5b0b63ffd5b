"""Fed-CMP of one matrix as docs/fed-cmp.md writes it: whole matrices, float64, plain numpy; slow and easy to read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregator.fed_cmp.rule import FedCmpOptions

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kept:
    """Basis and momentum, [rows, rank]."""

    basis: F64
    momentum: F64


def fed_cmp(
    projector: F64, deltas: list[F64], num_examples: list[int], *, options: FedCmpOptions, before: Kept | None = None
) -> tuple[F64, Kept]:
    """The next matrix and what is kept of it, from the global one [rows, columns] and each silo's delta."""
    base = projector if options.space == "weights" else np.zeros_like(projector)
    locals_ = [base + delta for delta in deltas]
    shares = np.array(num_examples) / sum(num_examples)
    left, singular, _ = np.linalg.svd(np.hstack(locals_), full_matrices=False)
    basis = left[:, : before.basis.shape[1] if before else rank(singular, options)]
    coefficients = [[along @ delta for delta in deltas] for along in basis.T]
    reliable = [reliabilities(one, shares, options) for one in coefficients]
    fused = basis.T @ base
    for direction, gain in enumerate(gains(coefficients, reliable, options)):
        for share, one in zip(reliable[direction], coefficients[direction], strict=True):
            fused[direction] += gain * share * one
    mean = sum(share * local for share, local in zip(shares, locals_, strict=True))
    moved, kept = step(basis, before, options)
    combined = moved @ fused + (mean - basis @ (basis.T @ mean))
    return combined + (projector - base), kept


def rank(singular: F64, options: FedCmpOptions) -> int:
    """The fewest directions with this share of the energy, options.rank at most, none that is rounding."""
    energies = singular**2
    needed = int(np.searchsorted(np.cumsum(energies), options.energy * energies.sum() * (1 - 1e-12))) + 1
    return min(needed, options.rank, int((energies > 1e-10 * energies[0]).sum()))


def reliabilities(coefficients: list[F64], shares: F64, options: FedCmpOptions) -> F64:
    """r_k of one direction."""
    consensus = sum(share * one for share, one in zip(shares, coefficients, strict=True))
    if options.consensus == "geometric_median":
        for _ in range(16):
            far = np.array([np.linalg.norm(one - consensus) for one in coefficients])
            parts = shares / np.maximum(far, 1e-6 * far.mean())
            consensus = sum(part * one for part, one in zip(parts / parts.sum(), coefficients, strict=True))
    squares = np.array([np.sum((one - consensus) ** 2) for one in coefficients])
    lengths = [np.linalg.norm(one) * np.linalg.norm(consensus) for one in coefficients]
    cosines = np.array([one @ consensus / length for one, length in zip(coefficients, lengths, strict=True)])
    believed = {
        "uniform": np.ones(len(shares)),
        "cosine": np.maximum(cosines, 1e-3),
        "softmax": np.exp(cosines / options.temperature),
        "inverse_deviation": 1.0 / (squares + squares.mean()),
    }[options.reliability]
    weights = believed * shares
    return weights / weights.sum()


def gains(coefficients: list[list[F64]], reliable: list[F64], options: FedCmpOptions) -> F64:
    """G of each direction."""
    sums = np.array(
        [
            [sum_of(rs, [one @ one for one in es]), sum_of(rs, es) @ sum_of(rs, es)]
            for rs, es in zip(reliable, coefficients, strict=True)
        ]
    )
    most = np.array([1 / np.linalg.norm(rs) for rs in reliable])
    if options.extrapolation == "none":
        return np.ones(len(sums))
    if options.extrapolation == "matrix":
        sums, most = np.tile(sums.sum(axis=0), (len(sums), 1)), np.full(len(most), most.min())
    return np.minimum(np.maximum(1.0, sums[:, 0] / (2 * sums[:, 1])), most)


def sum_of(shares: F64, parts: list[F64]) -> F64:
    """Weighted."""
    return sum(share * part for share, part in zip(shares, parts, strict=True))


def step(basis: F64, before: Kept | None, options: FedCmpOptions) -> tuple[F64, Kept]:
    """The basis after its step, in its own order; and in the order of the one before, with the next momentum."""
    if before is None:
        return basis, Kept(basis, np.zeros_like(basis))
    left, _, right = np.linalg.svd(basis.T @ before.basis)
    rotation = left @ right
    aligned = basis @ rotation
    drift = options.beta * before.momentum + aligned - before.basis
    momentum = drift - aligned @ (aligned.T @ drift + drift.T @ aligned) / 2
    left, _, right = np.linalg.svd(aligned + options.beta * momentum, full_matrices=False)
    return left @ right @ rotation.T, Kept(left @ right, momentum)
