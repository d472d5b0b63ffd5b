"""Whatever the values: top_k keeps the largest of each block, near enough, in one way to write them, range by range."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.admission.entries import kept
from isthmus.bfloat16 import from_bfloat16, to_bfloat16
from isthmus.codec import F32, decode, encode
from isthmus.contribution import Encoding
from isthmus.errors import PayloadMalformed
from isthmus.payload import TensorSpan, values_bytes
from isthmus.spec import TensorSpec
from isthmus.top_k import BLOCK, ENTRY_BYTES, KEPT, num_kept
from tests.rosters import values

MOST = float(from_bfloat16(np.array([0x7F7F], np.uint16))[0])
"""The largest bfloat16: what lies beyond becomes infinity, and never travels."""

NUMBERS = st.one_of(
    st.floats(-MOST, MOST, width=32),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.0 + 2.0**-9, 2.0**-133, -(2.0**-149), 3e-39, MOST, -MOST]),
)
LEADS = st.sampled_from([0, 1, 15, 16, 17, 1000, 1008, 1023, 1024, 2030, 3 * 1024])
"""How many ordinary values come before: so the drawn ones lie anywhere about the edges of blocks."""


def joined(lead: int, numbers: list[float]) -> F32:
    """Ordinary values, then the drawn ones."""
    return np.concatenate([values("lead", lead), np.array(numbers, np.float32)])


def reference(numbers: F32) -> F32:
    """What top_k leaves of these values, by sorting each block in plain Python, in float64."""
    rounded = from_bfloat16(to_bfloat16(numbers)).astype(np.float64)
    left = np.zeros(len(numbers))
    for start in range(0, len(numbers), BLOCK):
        places = range(start, min(start + BLOCK, len(numbers)))
        largest = sorted(places, key=lambda place: (-abs(rounded[place]), place))
        for place in largest[: -(-len(places) // 16)]:
            left[place] = rounded[place]
    return left.astype(np.float32) + np.float32(0.0)  # -0 + 0 is 0


@settings(max_examples=150, deadline=None)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=60), lead=LEADS)
def test_values_are_those_of_the_definition(numbers: list[float], lead: int) -> None:
    """What is decoded is what a plain sort of each block leaves, bit for bit, in as many bytes as the count says."""
    given_values = joined(lead, numbers)

    data = encode(given_values, Encoding.TOP_K)
    decoded = decode(data, Encoding.TOP_K, num_values=len(given_values))

    assert decoded.tobytes() == reference(given_values).tobytes()
    assert len(data) == 4 * -(-len(given_values) // 16) == values_bytes(len(given_values), Encoding.TOP_K)
    assert encode(decoded, Encoding.TOP_K) == data


@settings(max_examples=150, deadline=None)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=60), lead=LEADS)
def test_what_is_lost_is_bounded(numbers: list[float], lead: int) -> None:
    """A kept value is off by half a bfloat16 at most; none that is left out is larger than one kept of its block.

    So no block loses more of its energy than the share of values left out (Stich et al. 2018, definition 2.1), but for
    that rounding: 2^-8 of the energy.
    """
    given_values = joined(lead, numbers)
    decoded = decode(encode(given_values, Encoding.TOP_K), Encoding.TOP_K, num_values=len(given_values))

    for start in range(0, len(given_values), BLOCK):
        own, left = given_values[start : start + BLOCK].astype(np.float64), decoded[start : start + BLOCK]
        here = left != 0
        assert (np.abs(own - left)[here] <= np.abs(own[here]) * 2.0**-8 + 2.0**-134).all()
        least = np.abs(left[here]).min() if here.sum() == num_kept(len(own)) else 0.0
        assert (np.abs(own[~here]) <= least * (1 + 2.0**-8) + 2.0**-134).all()
        size = max(np.abs(own).max(), 2.0**-120)
        lost, all_of_it = (float(np.square(of / size).sum()) for of in (own - left, own))
        assert lost <= all_of_it * (1 - num_kept(len(own)) / len(own) + 2.0**-8) + 2.0**-10


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 6 * BLOCK),
    first=st.integers(0, 5),
    last=st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_range_is_the_slice_of_the_whole(count: int, first: int, last: int, seed: int) -> None:
    """The entries of any run of blocks decode by themselves to what they are within the whole."""
    start, end = first * BLOCK, min(last * BLOCK, count)
    if start >= end:
        return
    data = encode(values(f"ranges {seed}", count), Encoding.TOP_K)
    own = data[num_kept(start) * ENTRY_BYTES : num_kept(end) * ENTRY_BYTES]

    run = decode(own, Encoding.TOP_K, num_values=end - start)

    assert run.tobytes() == decode(data, Encoding.TOP_K, num_values=count)[start:end].tobytes()


BITS = st.sampled_from([0, 0, 0x8000, 0x3F80, 0xBF80, 1, 0x7F7F])
"""Of zeros, which only some entries may hold, and of other finite values."""


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(1, 80),
    pairs=st.lists(st.tuples(st.integers(0, 80), BITS), min_size=5, max_size=5),
    in_order=st.booleans(),
)
def test_what_is_admitted_is_what_encoding_writes(count: int, pairs: list[tuple[int, int]], in_order: bool) -> None:
    """Any entries are refused, or are the very bytes that their own values are encoded to: two never decode alike."""
    chosen = sorted(pairs) if in_order else pairs
    data = np.array(chosen, "<u2")[: num_kept(count)].tobytes()
    span = TensorSpan(TensorSpec("w", "F32", (count,)), 0, len(data))

    try:
        admitted = kept(data, span=span, start=0, num_values=count)
    except PayloadMalformed:
        return
    assert encode(admitted, Encoding.TOP_K) == data


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=60), lead=LEADS)
def test_what_encoding_writes_is_admitted(numbers: list[float], lead: int) -> None:
    """No honest silo is refused: entries of any values pass, and are judged to the values that they decode to."""
    given_values = joined(lead, numbers)
    data = encode(given_values, Encoding.TOP_K)
    span = TensorSpan(TensorSpec("w", "F32", (len(given_values),)), 0, len(data))

    admitted = kept(data, span=span, start=0, num_values=len(given_values))

    assert admitted.tobytes() == decode(data, Encoding.TOP_K, num_values=len(given_values)).tobytes()
    assert len(data) // ENTRY_BYTES <= KEPT * -(-len(given_values) // BLOCK)
