"""What must hold of masks and of the ring, whatever the roster, the deltas and the order."""

from dataclasses import replace
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.secure_aggregation.masks import Stream, apply, negated, self_stream, stream_words
from isthmus.secure_aggregation.ring import LEAST_BITS, ZERO_WORDS, fitting_bits, mean_of, quantise, summed
from tests.masked import BITS, CLIP, Masking, mean, opened, plain_words, roster_of, secret
from tests.rosters import values

weights = st.lists(st.integers(1, 9), min_size=3, max_size=9)
NUM_VALUES = 37


def deltas_of(num_silos: int, seed: int):
    """One delta for each silo, some of whose values lie beyond the clip."""
    return [values(f"{seed} {silo}", NUM_VALUES, scale=1.5 * CLIP) for silo in range(num_silos)]


@settings(max_examples=25, deadline=None)
@given(weights, st.integers(0, 99), st.randoms(use_true_random=False))
def test_masks_cancel_for_any_roster_in_any_order(weights: list[int], seed: int, shuffler: Random) -> None:
    """The opened sum is the sum of the unmasked words to the last bit, in whatever order the vectors are added."""
    roster, deltas = roster_of(weights), deltas_of(len(weights), seed)
    named = list(zip(roster.silos, deltas, strict=True))
    vectors = [Masking(silo).masked(delta, roster) for silo, delta in named]
    shuffler.shuffle(vectors)

    plain = summed((plain_words(delta, roster, silo=silo) for silo, delta in named), length=NUM_VALUES + ZERO_WORDS)
    assert np.array_equal(plain, opened(vectors, roster))


@settings(max_examples=25, deadline=None)
@given(weights, st.integers(0, 99))
def test_sum_decodes_to_the_mean_within_its_step(weights: list[int], seed: int) -> None:
    """Each value is the weighted mean of the clipped deltas, off by no more than half a step of the ring."""
    roster, deltas = roster_of(weights), deltas_of(len(weights), seed)
    vectors = [Masking(silo).masked(delta, roster) for silo, delta in zip(roster.silos, deltas, strict=True)]

    clipped = np.clip(np.stack(deltas).astype(np.float64), -CLIP, CLIP)
    expected = np.average(clipped, axis=0, weights=weights)
    half_step = CLIP / (2 ** (fitting_bits(BITS, total_weight=sum(weights)) + 1) - 2)
    rounding = np.abs(expected) * 2.0**-24
    assert (np.abs(mean(opened(vectors, roster), roster) - expected) <= half_step * (1 + 1e-9) + rounding).all()


@settings(max_examples=25, deadline=None)
@given(weights, st.integers(0, 8))
def test_roster_shown_differently_spoils_the_zero_words(weights: list[int], deceived: int) -> None:
    """One silo that was shown another weight of another silo has another transcript: the zero words open to others."""
    roster, silo = roster_of(weights), f"{deceived % len(weights):02}"
    changed = (deceived + 1) % len(weights)
    members = [*roster.members]
    members[changed] = replace(members[changed], num_examples=members[changed].num_examples + 1)
    other = replace(roster, members=tuple(members))
    delta = np.zeros(NUM_VALUES, np.float32)

    vectors = [Masking(one).masked(delta, other if one == silo else roster) for one in roster.silos]
    assert opened(vectors, roster)[:ZERO_WORDS].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 6), st.integers(0, 5))
def test_sum_stays_closed_without_a_seed_or_a_vector(num_silos: int, missing: int) -> None:
    """With one silo's seed missing, or its vector and its seed, neither zero words nor values come out, only noise."""
    roster = roster_of([1] * num_silos)
    zeros = np.zeros(NUM_VALUES, np.float32)
    vectors = [Masking(silo).masked(zeros, roster) for silo in roster.silos]
    others = [silo for number, silo in enumerate(roster.silos) if number != missing % num_silos]
    seeds = [self_stream(Masking(silo).seed, silo=silo, transcript=roster.transcript) for silo in others]

    for present in (vectors, [one for number, one in enumerate(vectors) if number != missing % num_silos]):
        total = summed(present, length=NUM_VALUES + ZERO_WORDS)
        apply(negated(seeds), total, start=0)
        assert len(set(total.tolist())) > NUM_VALUES
    assert not opened(vectors, roster).any()


@given(st.integers(0, 70), st.integers(1, 90), st.integers(1, 50))
def test_stream_may_be_sought(start: int, count: int, step: int) -> None:
    """A stream read from any word on, in pieces of any size, is the whole stream there."""
    key = secret("stream")
    whole = stream_words(key, start=0, count=start + count)
    pieces = [
        stream_words(key, start=begin, count=min(step, start + count - begin))
        for begin in range(start, start + count, step)
    ]

    assert np.array_equal(whole[start:], np.concatenate(pieces))


@given(st.integers(1, 60), st.integers(0, 9))
def test_blocks_change_no_bit(length: int, start: int) -> None:
    """Masking block by block gives the words that masking all at once does."""
    streams = (Stream(secret("one")), Stream(secret("two"), adds=False))
    whole = np.arange(100, dtype=np.uint32)
    blocks = whole.copy()
    apply(streams, whole, start=start)
    for begin in range(0, len(blocks), length):
        apply(streams, blocks[begin : begin + length], start=start + begin)

    assert np.array_equal(whole, blocks)
    apply(negated(streams), blocks, start=start)
    assert np.array_equal(np.arange(100), blocks)


@given(st.integers(1, 30), st.integers(1, 2**20))
def test_sum_never_wraps(asked: int, total_weight: int) -> None:
    """With every value at the end of its range the sum is what it says, for any weights that leave bits enough."""
    bits = fitting_bits(asked, total_weight=total_weight)
    if bits < LEAST_BITS:
        return
    ends = np.array([2.0, -2.0], np.float32)
    total = quantise(ends, clip=CLIP, bits=bits, weight=total_weight)

    assert [CLIP, -CLIP] == mean_of(total, clip=CLIP, bits=bits, total_weight=total_weight).tolist()
