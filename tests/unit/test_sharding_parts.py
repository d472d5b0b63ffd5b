"""How a projector is split into ranges, and what a part is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.blocks import GRAIN, block_length
from aggregator.options import NoOptions
from aggregator.pieces import Range, ranges
from aggregator.rules import RULES, RuleEntry, mean
from aggregator.sharding.parts import blocks_of, require_shardable, split
from isthmus.errors import ConfigInvalid, InvariantBroken
from isthmus.federation import Choice, StrategyPolicy
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import WIDE

MIB = 1 << 20
SIZES = st.lists(st.integers(1, 9 * GRAIN), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, grains=st.integers(1, 12))
def test_ranges_hold_every_value_once(sizes: list[int], grains: int) -> None:
    """Ranges follow each other without a gap over the whole projector, none longer than asked for."""
    spec = ProjectorSpec(tuple(TensorSpec(f"t{i}", "F32", (size,)) for i, size in enumerate(sizes)))

    found = ranges(spec, most_values=grains * GRAIN)

    assert (0, sum(sizes)) == (found[0].start, found[-1].stop)
    assert [one.stop for one in found[:-1]] == [one.start for one in found[1:]]
    assert all(1 <= one.num_values <= grains * GRAIN for one in found)


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, grains=st.integers(1, 12))
def test_ranges_are_cut_at_grains_of_a_tensor(sizes: list[int], grains: int) -> None:
    """A range begins where a tensor does, or whole grains behind it: blocks are then those of the whole."""
    spec = ProjectorSpec(tuple(TensorSpec(f"t{i}", "F32", (size,)) for i, size in enumerate(sizes)))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]

    for one in ranges(spec, most_values=grains * GRAIN):
        tensor = max(start for start in starts if start <= one.start)
        assert (one.start - tensor) % GRAIN == 0


@pytest.mark.parametrize("budget", [MIB, 16 * MIB, 256 * MIB, 16 << 30])
def test_part_is_small_beside_the_budget(budget: int) -> None:
    """A part of a projector and two slots takes less than a fifth of the memory budget, and 12 MiB at most."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (8192, 8192)),))

    largest = max(one.num_values for one in split(spec, memory_budget_bytes=budget)) * 4 * 3

    assert largest < budget / 5
    assert largest <= 12 * MIB


def test_budget_that_is_tiny_still_splits() -> None:
    """The smallest part is a grain; whether the roster fits is told by the arithmetic itself."""
    assert max(one.num_values for one in split(WIDE, memory_budget_bytes=1)) <= GRAIN
    with pytest.raises(ConfigInvalid, match="memory budget"):
        block_length(1, memory_budget_bytes=1)


def test_rule_of_whole_deltas_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that does not say it is coordinate-wise cannot be split; the error names it and the remedy."""
    monkeypatch.setitem(RULES, "krum", RuleEntry(NoOptions, mean.build, mean.least_silos))

    with pytest.raises(ConfigInvalid, match=r"krum decides by whole deltas.*mean.*combine\.by to \"process\""):
        require_shardable(StrategyPolicy(rule=Choice(name="krum")))
    require_shardable(StrategyPolicy(rule=Choice(name="mean")))


def test_part_of_another_size_is_not_laid_down() -> None:
    """Bytes that are no part of the range stop the round instead of moving values."""
    with pytest.raises(InvariantBroken, match="part of values 0 to 1024"):
        list(blocks_of(b"1234", spec=WIDE, strategy=StrategyPolicy(), within=Range(0, GRAIN)))
