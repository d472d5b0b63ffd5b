"""Buffered asynchronous mode: which round counts a delta, exactly once, and what its staleness does to it."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from aggregator.advance import Published, Waiting, counted, pending
from aggregator.ledger import Ledger, keys
from aggregator.ledger.documents import Closing, Contribution, RosterEntry
from aggregator.rules import build_rule
from aggregator.staleness import discounted
from aggregator.stores.memory import MemoryStore
from isthmus.errors import RoundClosed
from isthmus.federation import Choice
from tests.ledgers import NAME, after, contribute, definition, found, staged, step
from tests.rosters import GRAIN, TINY, WIDE, combine, deltas, roster, run_round, values

SILOS = ("a", "b", "c", "d")


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    """A federation of four silos that is cut at every two contributions, up to two rounds behind; six rounds."""
    ledger = Ledger(store)
    found(ledger, definition(rounds=6, most=2, participation="max_staleness = 2"), silos=SILOS)
    return ledger


def published(ledger: Ledger, scratch: Path) -> Published:
    """The open round, which is due."""
    outcome = step(ledger, scratch, now=after(1))
    assert isinstance(outcome, Published), outcome
    return outcome


def test_buffer_is_cut_at_every_k_contributions(ledger: Ledger, tmp_path: Path) -> None:
    """A round is cut at K contributions, whoever else trains, and takes those that were trained before."""
    rosters = []
    contribute(ledger, "a")
    first = step(ledger, tmp_path, now=after(1))
    contribute(ledger, "b")
    rosters.append(published(ledger, tmp_path).roster)
    contribute(ledger, "c", round_number=1)
    contribute(ledger, "a", round_number=2)
    rosters.append(published(ledger, tmp_path).roster)

    assert isinstance(first, Waiting)
    assert [[("a", 0), ("b", 0)], [("a", 0), ("c", 1)]] == [
        [(entry.silo, entry.staleness) for entry in roster.entries] for roster in rosters
    ]


def test_receipt_names_the_round_that_counts_it(ledger: Ledger, tmp_path: Path) -> None:
    """The receipt names the first round that is still open, and says the same when asked again after its cut."""
    for silo in "ab":
        contribute(ledger, silo)
    published(ledger, tmp_path)
    late = contribute(ledger, "c", round_number=1)
    receipts = [counted(ledger, late)]
    contribute(ledger, "a", round_number=2)
    published(ledger, tmp_path)
    receipts.append(counted(ledger, late))

    assert [(1, 2), (1, 2)] == [(receipt.round, receipt.counted_in) for receipt in receipts]
    assert receipts[0] == receipts[1]


def test_contribution_after_the_marker_is_counted_by_this_round_or_the_next(ledger: Ledger) -> None:
    """Who finds a closing marker is in that roster when it is fixed after him, and in the next round's when before."""
    contribute(ledger, "a")
    ledger.mark_closing(NAME, Closing(1, "test", after(3)))
    in_time = counted(ledger, contribute(ledger, "b"))
    late = counted(ledger, contribute(ledger, "c"))

    assert (1, 2) == (in_time.counted_in, late.counted_in)


def test_too_stale_contribution_is_refused_and_never_counted(ledger: Ledger, tmp_path: Path) -> None:
    """Beyond the largest staleness a delta is told to train again, and no later roster holds it."""
    for number in (1, 2, 3):
        for silo in "ab":
            contribute(ledger, silo, round_number=number)
        published(ledger, tmp_path)
    late = contribute(ledger, "c", round_number=1)

    with pytest.raises(RoundClosed) as caught:
        counted(ledger, late)
    contribute(ledger, "a", round_number=4)
    assert ("4", [("a", 4)]) == (caught.value.details["currentRound"], pending(ledger, NAME, 4))


def test_last_round_takes_no_late_delta_along(ledger: Ledger, tmp_path: Path) -> None:
    """Behind the last round there is none that could count it, however small its staleness."""
    for number in range(1, 7):
        for silo in "ab":
            contribute(ledger, silo, round_number=number)
        published(ledger, tmp_path)

    with pytest.raises(RoundClosed):
        counted(ledger, contribute(ledger, "c", round_number=6))


def test_one_silo_may_be_in_a_roster_twice(ledger: Ledger, tmp_path: Path) -> None:
    """Deltas of one silo from two projectors are two contributions, in the order of their rounds."""
    for silo in "bc":
        contribute(ledger, silo)
    published(ledger, tmp_path)
    new, old = contribute(ledger, "a", round_number=2), contribute(ledger, "a", round_number=1)

    outcome = published(ledger, tmp_path)

    assert (RosterEntry("a", old.digest, 1), RosterEntry("a", new.digest, 0)) == outcome.roster.entries
    assert (("a", "a"), [old, new]) == (outcome.manifest.silos, ledger.roster_contributions(outcome.roster))


def test_stale_delta_is_scaled_before_the_rule(ledger: Ledger, tmp_path: Path) -> None:
    """The published projector is what the arithmetic gives for deltas scaled by (1 + s)^-0.5 in float32."""
    for silo in "ab":
        contribute(ledger, silo)
    first = published(ledger, tmp_path).manifest
    stale, fresh = contribute(ledger, "c", round_number=1), contribute(ledger, "d", round_number=2)
    second = published(ledger, tmp_path).manifest
    pushed = [values(f"{NAME}-{name}", TINY.num_elements, scale=0.1) for name in ("1-c", "2-d")]
    expected = run_round(
        [pushed[0] * np.float32(2.0**-0.5), pushed[1]],
        base=ledger.read_blob(NAME, first.digest, start=0, size=first.size_bytes),
        state=ledger.read_blob(NAME, first.optimizer_state_digest, start=0, size=first.optimizer_state_size_bytes),
        num_examples=[stale.header.num_examples, fresh.header.num_examples],
        rule=Choice(name="mean"),
        optimizer=Choice(name="nesterov", learning_rate=0.7, momentum=0.9),
    )

    assert expected.projector == ledger.read_blob(NAME, second.digest, start=0, size=second.size_bytes)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_discount_is_a_step_before_any_rule(exponent: float) -> None:
    """Each row is scaled by its own factor, in every pass, and weights stay what they are."""
    rows = [values(f"row-{row}", TINY.num_elements) for row in range(3)]
    blocks = discounted(roster(rows), (0, 1, 3), exponent=exponent)
    passes = [[block.values.copy() for block in blocks] for _ in range(2)]

    expected = [row * np.float32((1 + s) ** -exponent) for row, s in zip(rows, (0, 1, 3), strict=True)]
    assert (1, 2, 3) == blocks.num_examples
    for one in passes:
        assert np.array_equal(np.concatenate(one, axis=1), np.stack(expected))


def test_discount_does_not_depend_on_the_length_of_blocks() -> None:
    """A discounted roster gives the same bits whatever the memory budget."""
    rule = build_rule(Choice(name="mean"))
    results = [
        combine(rule, discounted(roster(deltas(3, WIDE), spec=WIDE, length=length), (2, 0, 1), exponent=0.5))
        for length in (GRAIN, 4 * GRAIN)
    ]

    assert np.array_equal(*results)


def test_roster_without_stale_deltas_is_left_alone() -> None:
    """A synchronous round's roster goes to the rule as it is."""
    blocks = roster([values("row", TINY.num_elements)])

    assert blocks is discounted(blocks, (0,), exponent=0.5)


def test_segments_stay_until_no_round_can_count_them(ledger: Ledger, store: MemoryStore, tmp_path: Path) -> None:
    """Staged bytes of a round outlive it by the largest staleness; then those go that no roster counts."""
    kept = [contribute(ledger, silo) for silo in "ab"]
    uploading = staged(ledger, "c")
    left = []
    for number in (1, 2, 3):
        for silo in "ab" if number > 1 else "":
            contribute(ledger, silo, round_number=number)
        published(ledger, tmp_path)
        left.append({entry.key for entry in store.list(keys.uploads(NAME, 1))})

    def segments_of(contributions: list[Contribution]) -> set[str]:
        return {segment.key for one in contributions for segment in one.segments}

    everything = segments_of([*kept, uploading])
    assert [everything, everything, segments_of(kept)] == left


def test_late_contribution_that_is_counted_keeps_its_bytes(ledger: Ledger, store: MemoryStore, tmp_path: Path) -> None:
    """A delta that a later round counted is not swept when its own round is."""
    for silo in "ab":
        contribute(ledger, silo)
    published(ledger, tmp_path)
    late = contribute(ledger, "c", round_number=1)
    contribute(ledger, "a", round_number=2)
    for number in (2, 3):
        published(ledger, tmp_path)
        for silo in "ab":
            contribute(ledger, silo, round_number=number + 1)
    swept = {entry.key for entry in store.list(keys.uploads(NAME, 1))}

    assert {segment.key for segment in late.segments} <= swept


@pytest.mark.parametrize("moment", range(14))
def test_late_delta_is_in_the_one_roster_that_its_receipt_names(ledger: Ledger, tmp_path: Path, moment: int) -> None:
    """A delta of round 1 that comes at any step of the first two cuts is counted once, where its receipt says."""
    receipts = []
    ticks = itertools.count()

    def tick(_: str) -> None:
        if next(ticks) == moment:
            receipts.append(counted(ledger, contribute(ledger, "d")))

    for number in (1, 2, 3):
        for silo in "ab":
            contribute(ledger, silo, round_number=number)
        step(ledger, tmp_path, now=after(1), at=tick)

    rosters = [ledger.roster(NAME, number) for number in (1, 2, 3)]
    holding = [one.round for one in rosters if one for entry in one.entries if entry.silo == "d"]
    assert [receipt.counted_in for receipt in receipts] == holding
