"""Invariants 1 and 2 in buffered mode, for every order in which replicas can meet on one store, deaths included."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from aggregator.advance import Published, counted
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Roster
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from isthmus.contribution import Receipt
from isthmus.errors import ProjectorUnknown, RoundClosed
from tests.interleaving import Actor, Bursts, Died, bursts, mortals, run_interleaved
from tests.ledgers import NAME, after, contribute, definition, found, staged, step

CUTTERS = ("cutter 1", "cutter 2")
PUSHERS = ("push a 1", "push b 1", "push b 1 again", "push c 1", "push a 2", "push b 2")
ROUNDS = 4

orders = bursts(most_actors=7, most_verbs=12)
deaths_of_some = mortals(CUTTERS + PUSHERS, most_verbs=40)


def push(name: str) -> Callable[[Store], Receipt]:
    """Commits a silo's delta, trained in that round, and answers as the service does."""
    _, silo, trained, *again = name.split()

    def work(store: Store) -> Receipt:
        contribution = replace(
            staged(Ledger(store), silo, round_number=int(trained)), admitted_at=after(2 + len(again))
        )
        return counted(Ledger(store), Ledger(store).commit_contribution(contribution))

    return work


def cutter(scratch: Path) -> Callable[[Store], object]:
    """Advances twice: every two contributions are enough, up to one round behind."""

    def work(store: Store) -> object:
        step(Ledger(store), scratch, now=after(999))
        return step(Ledger(store), scratch, now=after(999))

    return work


def named_by(roster: Roster) -> list[tuple[str, int]]:
    """What a roster holds: silo and round trained in."""
    return [(entry.silo, roster.round - entry.staleness) for entry in roster.entries]


def play(order: Bursts, deaths: list[Actor], *, scratch: Path) -> tuple[Ledger, dict[str, object]]:
    """Six pushes to two rounds race with two replicas that cut; then a survivor goes on as far as it goes."""
    store = MemoryStore()
    toml = definition(rounds=ROUNDS, most=2, participation="max_staleness = 1")
    found(Ledger(store), toml, silos=("a", "b", "c", "d"))
    contribute(Ledger(store), "d")
    work: dict[str, Callable[[Store], object]] = {name: push(name) for name in PUSHERS}
    work |= {name: cutter(scratch) for name in CUTTERS}
    results = run_interleaved(store, work, order=[who for who, times in order for _ in range(times)], deaths=deaths)
    while isinstance(step(Ledger(store), scratch, now=after(9999)), Published):
        pass
    return Ledger(store), results


@settings(max_examples=60, deadline=None)
@given(orders, deaths_of_some)
def test_receipted_delta_is_in_the_one_roster_that_its_receipt_names(order: Bursts, deaths: list[Actor]) -> None:
    """Whatever the order and whoever dies: no delta is in two rosters, and receipts and refusals say what is true."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger, results = play(order, deaths, scratch=Path(scratch))

    rosters = [roster for number in range(1, ROUNDS + 1) if (roster := ledger.roster(NAME, number))]
    named = [key for roster in rosters for key in named_by(roster)]
    assert len(set(named)) == len(named)
    homes = {key: roster.round for roster in rosters for key in named_by(roster)}
    for name, result in results.items():
        match result:
            case Receipt():
                holding = homes.get((result.silo, result.round), ledger.latest_number(NAME) + 1)
                assert result.counted_in == holding, name
            case RoundClosed():
                assert (name.split()[1], int(name.split()[2])) not in homes, name
            case _:
                assert name in CUTTERS or isinstance(result, Died | ProjectorUnknown), result
