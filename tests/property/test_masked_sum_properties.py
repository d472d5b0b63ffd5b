"""What must hold of a masked sum that is opened block by block."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.blocks import GRAIN, Payload
from aggregator.masked_sums import MaskedSum, SumRefused, means
from isthmus.secure_aggregation.ring import bytes_of
from tests.masked import BITS, CLIP, Masking, mean, opened, roster_of
from tests.rosters import values

WEIGHTS = [1, 2, 1, 3]
ROSTER = roster_of(WEIGHTS)
NUM_VALUES = 3 * GRAIN + 77
DELTAS = [values(f"masked {silo}", NUM_VALUES, scale=1.5 * CLIP) for silo in ROSTER.silos]
VECTORS = [Masking(silo).masked(delta, ROSTER) for silo, delta in zip(ROSTER.silos, DELTAS, strict=True)]
HEAD = b"a header"


def stored(words: np.ndarray) -> Payload:
    """A vector behind some bytes, as in a payload."""
    data = HEAD + bytes(bytes_of(words))
    return Payload(lambda start, size: data[start : start + size], len(HEAD))


SUM = MaskedSum(
    ROSTER, tuple(map(stored, VECTORS)), tuple(Masking(silo).seed for silo in ROSTER.silos), clip=CLIP, bits=BITS
)


def lengths(grains: int) -> list[int]:
    """The values in blocks of so many grains; the last one is what is left."""
    return [min(grains * GRAIN, NUM_VALUES - start) for start in range(0, NUM_VALUES, grains * GRAIN)]


def whole(opening: MaskedSum, *, grains: int = 1, max_l2_norm: float = 1e6) -> bytes:
    """All that comes out, as bytes."""
    return np.concatenate(list(means(opening, lengths(grains), max_l2_norm=max_l2_norm))).tobytes()


def test_opened_sum_is_the_mean_of_the_deltas() -> None:
    """What is opened block by block is what all vectors at once give, and the mean of the clipped deltas."""
    found = np.frombuffer(whole(SUM), np.float32)
    expected = np.average(np.clip(np.stack(DELTAS).astype(np.float64), -CLIP, CLIP), axis=0, weights=WEIGHTS)

    assert found.tobytes() == mean(opened(VECTORS, ROSTER), ROSTER).tobytes()
    assert np.abs(found - expected).max() < 2.0**-23


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5))
def test_blocks_change_no_bit_of_the_mean(grains: int) -> None:
    """Longer blocks give the same bytes, and the same verdict on the norm, up to its last digit."""
    assert whole(SUM) == whole(SUM, grains=grains)
    norm = measured_norm(1)
    assert norm == measured_norm(grains)
    with pytest.raises(SumRefused, match="max_mean_l2_norm"):
        whole(SUM, grains=grains, max_l2_norm=float(np.nextafter(norm, 0.0)))
    whole(SUM, grains=grains, max_l2_norm=norm)


def measured_norm(grains: int) -> float:
    """The norm of what comes out, its squares added as the module says."""
    found = np.frombuffer(whole(SUM, grains=grains), np.float32).astype(np.float64)
    squares = 0.0
    for begin in range(0, NUM_VALUES, GRAIN):
        squares += float(np.square(found[begin : begin + GRAIN]).sum())
    return float(np.sqrt(squares))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.sampled_from(["seed", "vector", "transcript"]))
def test_sum_that_is_not_the_rosters_is_refused(silo: int, wrong: str) -> None:
    """With another seed, another round's vector or another transcript of one silo, no value comes out."""
    seeds, vectors = [*SUM.seeds], [*SUM.vectors]
    name = ROSTER.silos[silo]
    if wrong == "seed":
        seeds[silo] = Masking("another").seed
    else:
        other = replace(ROSTER, round=2) if wrong == "vector" else replace(ROSTER, base_digest=b"c" * 32)
        vectors[silo] = stored(Masking(name).masked(DELTAS[silo], other))
    changed = replace(SUM, seeds=tuple(seeds), vectors=tuple(vectors))

    with pytest.raises(SumRefused, match="zero words"):
        next(means(changed, lengths(1), max_l2_norm=1e6))
