"""Which staged segments make up a payload, whatever was staged."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aggregator.ledger.documents import Segment
from aggregator.ledger.segments import longest_chain, read_range

staged_runs = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(0, 2)), max_size=25)


def segment(run: tuple[int, int, int]) -> Segment:
    """The segment of (offset, size, variant)."""
    offset_bytes, size_bytes, variant = run
    return Segment(offset_bytes, size_bytes, f"{offset_bytes:016d}-{size_bytes}-{variant}")


def reach(chain: list[Segment]) -> int:
    """Where a chain ends."""
    return chain[-1].offset_bytes + chain[-1].size_bytes if chain else 0


@given(staged_runs)
def test_chain_has_no_gap_and_reaches_furthest(runs: list[tuple[int, int, int]]) -> None:
    """The chain starts at 0, each segment begins where the one before ends, and no other chain gets further."""
    chain = longest_chain(map(segment, runs))

    reachable = {0}
    for offset_bytes, size_bytes, _ in sorted(runs):
        if offset_bytes in reachable:
            reachable.add(offset_bytes + size_bytes)
    starts = [0, *(one.offset_bytes + one.size_bytes for one in chain)][: len(chain)]
    assert (starts, max(reachable)) == ([one.offset_bytes for one in chain], reach(chain))


@given(staged_runs, st.randoms(use_true_random=False))
def test_chain_does_not_depend_on_order(runs: list[tuple[int, int, int]], shuffler: Random) -> None:
    """The same segments give the same chain in whatever order they are listed."""
    shuffled = list(runs)
    shuffler.shuffle(shuffled)

    assert longest_chain(map(segment, runs)) == longest_chain(map(segment, shuffled))


@given(staged_runs, staged_runs)
def test_more_segments_never_shorten_the_chain(
    runs: list[tuple[int, int, int]], more: list[tuple[int, int, int]]
) -> None:
    """What was once told as committed stays committed when others stage more."""
    assert reach(longest_chain(map(segment, runs))) <= reach(longest_chain(map(segment, [*runs, *more])))


@given(st.binary(min_size=1, max_size=60), st.data())
def test_ranges_of_segments_are_ranges_of_the_payload(payload: bytes, data: st.DataObject) -> None:
    """Reading any range out of any cutting into segments gives the payload's bytes."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(payload)))) | {len(payload)})
    segments = [Segment(a, b - a, str(a)) for a, b in zip([0, *cuts], cuts, strict=False)]
    start = data.draw(st.integers(0, len(payload)))
    size = data.draw(st.integers(0, len(payload) - start))

    def get(one: Segment, first: int, length: int) -> bytes:
        return payload[one.offset_bytes :][first : first + length]

    assert payload[start : start + size] == read_range(segments, get, start=start, size=size)
