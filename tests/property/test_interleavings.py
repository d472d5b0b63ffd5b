"""Invariants 1 and 2 for every order in which replicas can meet on one store, deaths included."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from aggregator.advance import Published, counted
from aggregator.ledger import Ledger
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from isthmus.contribution import Receipt
from isthmus.errors import RoundClosed
from isthmus.federation import Choice
from tests.interleaving import Actor, Bursts, Died, bursts, mortals, run_interleaved
from tests.ledgers import INITIAL, NAME, after, contribute, definition, found, staged, step
from tests.rosters import TINY, run_round, values

SILOS = ("a", "b", "c")
CUTTERS = ("cutter 1", "cutter 2")
PUSHERS = ("push a", "push b", "push b again", "push c")

orders = bursts(most_actors=5, most_verbs=9)
deaths_of_some = mortals(CUTTERS + PUSHERS, most_verbs=30)


def push(name: str) -> Callable[[Store], Receipt]:
    """Stages and commits a silo's contribution and answers as the service does; a repeat has a time of its own."""
    _, silo, *again = name.split()

    def work(store: Store) -> Receipt:
        contribution = replace(staged(Ledger(store), silo), admitted_at=after(2 + len(again)))
        return counted(Ledger(store), Ledger(store).commit_contribution(contribution))

    return work


def cutter(scratch: Path) -> Callable[[Store], object]:
    """Advances once, when a quorum of one is due at once."""
    return lambda store: step(Ledger(store), scratch, now=after(999))


def play(order: Bursts, deaths: list[Actor], *, scratch: Path) -> tuple[Ledger, dict[str, object]]:
    """Four pushes of three silos race with two cuts of one round; then a survivor advances once more."""
    store = MemoryStore()
    found(Ledger(store), definition(quorum=1, rounds=1), silos=SILOS)
    contribute(Ledger(store), "a")  # so that there is something to cut from the first moment on
    work: dict[str, Callable[[Store], object]] = {name: push(name) for name in PUSHERS}
    work |= {name: cutter(scratch) for name in CUTTERS}
    results = run_interleaved(store, work, order=[who for who, times in order for _ in range(times)], deaths=deaths)
    step(Ledger(store), scratch, now=after(9999))
    return Ledger(store), results


@settings(max_examples=100, deadline=None)
@given(orders, deaths_of_some)
def test_who_is_receipted_is_counted_once_and_who_is_refused_is_not(order: Bursts, deaths: list[Actor]) -> None:
    """Whatever the order and whoever dies: receipts name exactly what the one published roster counted."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger, results = play(order, deaths, scratch=Path(scratch))

    roster = ledger.roster(NAME, 1)
    assert roster is not None
    silos = roster.silos
    receipted = {result.silo for result in results.values() if isinstance(result, Receipt)}
    refused = {name.split()[1] for name, result in results.items() if isinstance(result, RoundClosed)}
    assert (set(), set(), len(silos)) == (receipted - set(silos), refused & set(silos), len(set(silos)))
    expected = (Receipt, RoundClosed, Published, Died)
    assert [] == [result for name, result in results.items() if not isinstance(result, expected) and name in PUSHERS]
    assert {roster.digest} == {result.roster.digest for result in results.values() if isinstance(result, Published)} | {
        ledger.manifest(NAME, 1).roster_digest
    }


@settings(max_examples=30, deadline=None)
@given(orders, deaths_of_some)
def test_published_projector_is_a_function_of_its_roster(order: Bursts, deaths: list[Actor]) -> None:
    """Whatever the order and whoever dies: the published bytes are those that the roster gives."""
    with tempfile.TemporaryDirectory() as scratch:
        ledger, _ = play(order, deaths, scratch=Path(scratch))
    manifest = ledger.manifest(NAME, 1)
    recomputed = run_round(
        [values(f"{NAME}-1-{silo}", TINY.num_elements, scale=0.1) for silo in manifest.silos],
        base=INITIAL,
        num_examples=[one.header.num_examples for one in ledger.contributions(NAME, 1) if one.silo in manifest.silos],
        rule=Choice(name="mean"),
        optimizer=Choice(name="nesterov", learning_rate=0.7, momentum=0.9),
    )

    assert recomputed.projector == ledger.read_blob(NAME, manifest.digest, start=0, size=manifest.size_bytes)
