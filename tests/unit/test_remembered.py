"""What the ledger remembers: a few values that never change, bounded, and safe to lose at any moment."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.advance import Published
from aggregator.ledger import Ledger
from aggregator.ledger.remembered import MAX_REMEMBERED, last_true, remember
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from isthmus.errors import FederationUnknown, ProjectorUnknown
from tests.ledgers import NAME, after, contribute, definition, found, staged, step


def test_memory_is_bounded() -> None:
    """However many values come by, no more are held than the bound, and the last one is."""
    memory: dict[int, int] = {}
    most = 0
    for number in range(3 * MAX_REMEMBERED):
        remember(memory, number, number)
        most = max(most, len(memory))

    assert most <= MAX_REMEMBERED
    assert memory[3 * MAX_REMEMBERED - 1] == 3 * MAX_REMEMBERED - 1


@given(last=st.integers(0, 5000), known=st.integers(0, 5000))
def test_newest_number_is_found_from_wherever_memory_left_off(last: int, known: int) -> None:
    """The last number that holds does not depend on where looking begins: a lost memory only costs looks."""
    assert last == last_true(lambda number: number <= last, min(known, last))


def answers(ledger: Ledger) -> list[object]:
    """All that the ledger may answer out of its memory."""
    return [
        ledger.federation(NAME),
        ledger.federations(),
        ledger.latest_number(NAME),
        ledger.lineage(NAME),
        ledger.state(NAME),
        [ledger.roster(NAME, number) for number in range(1, 4)],
    ]


def play(store: Store, scratch: Path, round_number: int) -> None:
    """One round, published by a replica that remembers nothing."""
    for silo in ("a", "b", "c"):
        contribute(Ledger(store), silo, round_number=round_number)
    assert isinstance(step(Ledger(store), scratch, now=after(1)), Published)


def test_replicas_answer_alike_whatever_they_remember(tmp_path: Path) -> None:
    """A replica that has seen everything, one that has just begun, and one that lost its memory in between agree."""
    store = MemoryStore()
    found(Ledger(store), definition(rounds=3))
    found(Ledger(store), definition("other"))
    seasoned, forgetful = Ledger(store), Ledger(store)
    for round_number in (1, 2, 3):
        play(store, tmp_path, round_number)
        forgetful = forgetful if round_number == 2 else Ledger(store)

        assert answers(seasoned) == answers(forgetful) == answers(Ledger(store))


def test_what_is_not_there_is_not_remembered(tmp_path: Path) -> None:
    """A federation or a projector asked for too early is found as soon as another replica made it."""
    store = MemoryStore()
    early = Ledger(store)
    with pytest.raises(FederationUnknown):
        early.federation(NAME)
    found(Ledger(store))
    with pytest.raises(ProjectorUnknown):
        early.manifest(NAME, 1)
    play(store, tmp_path, 1)

    assert (1, (1, 1)) == (early.latest_number(NAME), (early.manifest(NAME, 1).number, early.roster(NAME, 1).round))


def test_revocation_is_never_answered_out_of_memory() -> None:
    """What the operator may change is read anew: a silo that another replica barred is barred at once."""
    store = MemoryStore()
    here, there = Ledger(store), Ledger(store)
    found(here)
    assert here.active_silos(NAME) == ("a", "b", "c")
    there.revoke(NAME, "b")

    assert here.active_silos(NAME) == ("a", "c")


def test_conflicting_contribution_is_read_from_the_store(tmp_path: Path) -> None:
    """A replica that never saw the first contribution answers a repeat with it, as the one that stored it does."""
    store = MemoryStore()
    found(Ledger(store))
    first = contribute(Ledger(store), "a")

    assert first == Ledger(store).commit_contribution(staged(Ledger(store), "a"))
