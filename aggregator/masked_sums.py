"""The sum of masked deltas, opened out of core: blocks of words are added modulo 2^32, then the silos' own masks go.

Pure: which vectors and seeds there are is given. What comes out depends on stored bytes alone, not on the blocks.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.blocks import GRAIN, CombinedBlock, Payload
from aggregator.pieces import pieces, whole
from isthmus.codec import F32
from isthmus.secure_aggregation.keys import KeyRoster
from isthmus.secure_aggregation.masks import Stream, apply, negated, self_stream
from isthmus.secure_aggregation.ring import U32, WORD_BYTES, ZERO_WORDS, fitting_bits, mean_of, summed, words_of
from isthmus.spec import ProjectorSpec


class SumRefused(Exception):
    """The sum is none of honest silos' deltas, so the round must change nothing; its text says why."""


@dataclass(frozen=True, slots=True)
class MaskedSum:
    """A round whose vectors and seeds are all there.

    Attributes:
        roster: Whose they are.
        vectors: One for each member, in its order: zero words, then one word for each value, from `data_start_bytes`.
        seeds: Likewise, as they were revealed.
        clip: The federation's: what values were cut to.
        bits: The federation's: of a value at most.
    """

    roster: KeyRoster
    vectors: tuple[Payload, ...]
    seeds: tuple[bytes, ...]
    clip: float
    bits: int

    @property
    def own_masks(self) -> tuple[Stream, ...]:
        """The streams that hide the sum once the silos' shared ones have cancelled."""
        transcript = self.roster.transcript
        named = zip(self.seeds, self.roster.silos, strict=True)
        return tuple(self_stream(seed, silo=silo, transcript=transcript) for seed, silo in named)

    def words(self, *, start: int, count: int) -> U32:
        """Words of the opened sum: uint32 [count] from the position `start` in the vectors, zero words included."""
        total = summed((_read(one, start=start, count=count) for one in self.vectors), length=count)
        apply(negated(self.own_masks), total, start=start)
        return total

    def mean(self, *, start: int, count: int) -> F32:
        """Values of the weighted mean of the clipped deltas: float32 [count] from value `start` on."""
        weight = self.roster.total_weight
        words = self.words(start=ZERO_WORDS + start, count=count)
        bits = fitting_bits(self.bits, total_weight=weight)
        return mean_of(words, clip=self.clip, bits=bits, total_weight=weight)


@dataclass(frozen=True, slots=True)
class MaskedRound:
    """A sum to be opened, and the largest L2 norm that its mean may have."""

    total: MaskedSum
    max_l2_norm: float


def opened_blocks(masked: MaskedRound, spec: ProjectorSpec, *, length: int) -> Iterator[CombinedBlock]:
    """The mean of the deltas in the blocks that `aggregator.blocks.walk_payloads` gives of the spec.

    Raises:
        SumRefused: As `means`.
    """
    places = list(pieces(spec, length=length, within=whole(spec)))
    values = means(masked.total, [place.count for place in places], max_l2_norm=masked.max_l2_norm)
    for place, block in zip(places, values, strict=True):
        yield CombinedBlock(place.tensor, place.start, block)


def means(opened: MaskedSum, counts: Sequence[int], *, max_l2_norm: float) -> Iterator[F32]:
    """The mean in blocks of these lengths, one after the other; each is a multiple of GRAIN or ends a tensor.

    Args:
        opened: The round.
        counts: Values of each block.
        max_l2_norm: Largest L2 norm of the whole mean; squares are added grain by grain, so that blocks change no bit.

    Raises:
        SumRefused: Before the first block: the zero words do not open to zero. After the last: the norm is above.
    """
    if (words := opened.words(start=0, count=ZERO_WORDS)).any():
        raise SumRefused(
            f"The sum did not open: {np.count_nonzero(words)} of its {ZERO_WORDS} zero words are not zero. A silo "
            "masked for another key roster, or revealed another seed than it masked with."
        )
    start, squares = 0, 0.0
    for count in counts:
        values = opened.mean(start=start, count=count)
        for begin in range(0, count, GRAIN):
            squares += float(np.square(values[begin : begin + GRAIN], dtype=np.float64).sum())
        start += count
        yield values
    if math.sqrt(squares) > max_l2_norm:
        raise SumRefused(
            f"The mean of the deltas has an L2 norm of {math.sqrt(squares):.6g}; secure_aggregation.max_mean_l2_norm "
            f"is {max_l2_norm:.6g}. Whose delta is too large nobody can tell."
        )


def _read(vector: Payload, *, start: int, count: int) -> U32:
    return words_of(vector.read(vector.data_start_bytes + start * WORD_BYTES, count * WORD_BYTES))
