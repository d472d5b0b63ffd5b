"""The rule `fed_cmp`: its options, its state, and the order of its passes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from aggregator.blocks import F64, RosterBlocks
from aggregator.fed_cmp.basis import Spectrum, rank_by_energy, spectra
from aggregator.fed_cmp.extrapolation import EXTRAPOLATIONS
from aggregator.fed_cmp.fusion import Correction, corrected, correction, products_of
from aggregator.fed_cmp.momentum import Moved, Remembered, moved
from aggregator.fed_cmp.passes import projected
from aggregator.fed_cmp.reliability import reliable_shares
from aggregator.fed_cmp.room import groups
from aggregator.matrices import Matrix, MatrixCombined, MatrixRound, MatrixRule, matrices_of
from aggregator.options import Options
from aggregator.rules.mean import mean
from isthmus.codec import F32
from isthmus.spec import ProjectorSpec, TensorSpec

BASIS, MOMENTUM = "basis", "basis_momentum"
"""The tensors of its state, "basis/<tensor>" and "basis_momentum/<tensor>": float32 [rows, directions at most].

Unused directions are columns of zeros; all are, until a matrix has a basis.
"""


class FedCmpOptions(Options):
    """How the basis is chosen, whom it believes, and how it moves."""

    rank: int = Field(default=64, ge=1, le=256)
    """Most directions of a basis; a full basis would leave the momentum nothing to do."""
    energy: float = Field(default=0.95, gt=0.0, le=1.0)
    """The fewest directions that hold this share of the silos' energy are the basis, `rank` at most."""
    space: Literal["weights", "deltas"] = "deltas"
    """Whether the basis is that of the silos' projectors or of their deltas alone."""
    reliability: Literal["uniform", "cosine", "softmax", "inverse_deviation"] = "uniform"
    """How a silo's reliability in a direction follows from its agreement with the consensus."""
    consensus: Literal["mean", "geometric_median"] = "mean"
    """What a silo is compared with."""
    temperature: float = Field(default=0.2, ge=0.001, le=100.0)
    """Of the reliability "softmax"."""
    extrapolation: Literal["none", "matrix", "direction"] = "direction"
    """How much further than fused the coefficients are followed: not, by one gain, or by one for each direction."""
    beta: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the basis' momentum that is kept from round to round, and acts; 0: the basis has none."""

    @property
    def is_mean(self) -> bool:
        """Whether nothing is left but the weighted mean."""
        return self.reliability == "uniform" and self.extrapolation == "none" and self.beta == 0.0

    @property
    def is_by_agreement(self) -> bool:
        """Whether it matters how far the deltas lie apart."""
        return self.reliability != "uniform" or self.extrapolation != "none"


@dataclass(frozen=True, slots=True)
class _Given:
    """What one round starts from; `before` by tensor, none of one that has no basis yet."""

    roster: RosterBlocks
    seen: MatrixRound
    before: Mapping[str, Remembered]
    options: FedCmpOptions


def build(options: FedCmpOptions) -> MatrixRule:
    """Fed-CMP: the weighted mean, with each matrix corrected in a basis that the silos share.

    One silo alone, and uniform reliability with beta = 0 and no extrapolation, give the rule `mean` bit for bit; the
    state stays as it is.
    Tensors that are no matrices (biases) are averaged, and so is what lies outside the basis.

    Source:
        Fed-CMP, arXiv 2603.26786, of which the abstract alone was at hand. Equations and deviations: docs/fed-cmp.md.
    """

    def combine(roster: RosterBlocks, seen: MatrixRound) -> MatrixCombined:
        before = _remembered(seen, options)
        if options.is_mean or roster.num_silos == 1:
            return MatrixCombined(mean(roster), _state(seen.spec, before, options))
        corrections: dict[str, Correction] = {}
        after = dict(before)
        for group in groups(seen, num_silos=roster.num_silos, rank=options.rank):
            for matrix, fused, remembered in _fused(_Given(roster, seen, before, options), group):
                corrections[matrix.name] = fused
                if remembered:
                    after[matrix.name] = remembered
        matrices = {matrix.name: matrix for matrix in matrices_of(seen.spec)}
        return MatrixCombined(corrected(mean(roster), matrices, corrections), _state(seen.spec, after, options))

    return MatrixRule(lambda spec: state_of(spec, options), combine)


def least_silos(_options: FedCmpOptions) -> int:
    """One: it promises no protection."""
    return 1


def state_of(spec: ProjectorSpec, options: FedCmpOptions) -> tuple[TensorSpec, ...]:
    """Basis and momentum of each matrix; nothing where beta is 0."""
    return tuple(
        TensorSpec(f"{slot}/{matrix.name}", "F32", (matrix.rows, min(options.rank, matrix.rows)))
        for slot in (BASIS, MOMENTUM)
        for matrix in matrices_of(spec)
        if options.beta
    )


def _fused(given: _Given, group: list[Matrix]) -> Iterator[tuple[Matrix, Correction, Remembered | None]]:
    """The correction of each matrix that is not zero, and what is remembered of it."""
    options, shares = given.options, _shares(given.roster)
    bases = _bases(given, group)
    with_base = options.space == "weights"
    for matrix, coefficients in projected(given.roster, given.seen, bases, with_base=with_base).items():
        parts = _parts(products_of(coefficients.deltas), shares, options)
        step = _step(bases[matrix], given.before.get(matrix.name), options)
        vectors = step.vectors if step else None
        fused = correction(coefficients, bases[matrix], shares=shares, parts=parts, moved=vectors)
        yield matrix, fused, step.remembered if step else _first(bases[matrix], options)


def _parts(products: F64, shares: F64, options: FedCmpOptions) -> F64:
    """g_i r_ki: each silo in what is fused, float64 [directions, silos]."""
    reliable = reliable_shares(
        products,
        shares,
        measure=options.reliability,
        consensus=options.consensus,
        temperature=options.temperature,
    )
    return EXTRAPOLATIONS[options.extrapolation](products, reliable) * reliable


def _bases(given: _Given, group: list[Matrix]) -> dict[Matrix, F64]:
    """The basis of each matrix that is not zero."""
    options = given.options
    found = spectra(given.roster, given.seen, group, rank=options.rank, with_base=options.space == "weights")
    bases = {matrix: _chosen(one, given.before.get(matrix.name), options) for matrix, one in found.items()}
    return {matrix: vectors for matrix, vectors in bases.items() if vectors.shape[1]}


def _chosen(found: Spectrum, before: Remembered | None, options: FedCmpOptions) -> F64:
    """The basis: as many directions as the round before had, else by energy."""
    kept = before.basis.shape[1] if before else 0
    rank = kept if 0 < kept <= found.vectors.shape[1] else rank_by_energy(found, options.energy)
    return found.vectors[:, :rank]


def _step(vectors: F64, before: Remembered | None, options: FedCmpOptions) -> Moved | None:
    """The basis' step; none without momentum, and none where there are other directions than before."""
    if not options.beta or before is None or before.basis.shape != vectors.shape:
        return None
    return moved(vectors, before, beta=options.beta)


def _first(vectors: F64, options: FedCmpOptions) -> Remembered | None:
    return Remembered(vectors, np.zeros_like(vectors)) if options.beta else None


def _shares(roster: RosterBlocks) -> F64:
    """n_k / n, float64 [silos]."""
    weights = np.array(roster.num_examples, np.float64)
    return weights / sum(roster.num_examples)


def _remembered(seen: MatrixRound, options: FedCmpOptions) -> dict[str, Remembered]:
    """What the round before left of each matrix, its unused columns cut off; none of one that has no basis yet."""
    found = {}
    for matrix in matrices_of(seen.spec) if seen.state and options.beta else ():
        basis, momentum = (seen.state[f"{slot}/{matrix.name}"].astype(np.float64) for slot in (BASIS, MOMENTUM))
        used = int(np.count_nonzero(np.abs(basis).max(axis=0)))
        if used:
            found[matrix.name] = Remembered(basis[:, :used], momentum[:, :used])
    return found


def _state(spec: ProjectorSpec, after: Mapping[str, Remembered], options: FedCmpOptions) -> dict[str, F32]:
    """What is published, padded with zeros to the spec's shapes."""
    state = {}
    for tensor in state_of(spec, options):
        padded = np.zeros(tensor.shape, np.float32)
        slot, _, name = tensor.name.partition("/")
        if name in after:
            values = after[name].basis if slot == BASIS else after[name].momentum
            padded[:, : values.shape[1]] = values
        state[tensor.name] = padded
    return state
