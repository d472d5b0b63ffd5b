"""Housekeeping in every order in which it can meet pushes, cuts and other housekeeping, deaths included."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings

from aggregator.advance import Published, Waiting, counted
from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger, keys, removal
from aggregator.stores import Store, exists
from aggregator.stores.memory import MemoryStore
from isthmus.contribution import Receipt
from isthmus.errors import InvariantBroken, RoundClosed
from tests.interleaving import Actor, Bursts, Died, bursts, mortals, run_interleaved
from tests.ledgers import NAME, after, contribute, definition, found, staged, step

LONG_AFTER = after(100 * 86_400)
"""When every round that is over has been over for longer than its deltas are kept."""

TIDIERS = ("tidy 1", "tidy 2")
CUTTERS = ("cut 1", "cut 2")
NAMES = (*TIDIERS, *CUTTERS, "push b", "push c")

orders = bursts(most_actors=5, most_verbs=9, length=20)
deaths_of_some = mortals(NAMES, most_verbs=30)


def push(silo: str) -> Callable[[Store], Receipt]:
    """Stages and commits a silo's contribution to round 2."""

    def work(store: Store) -> Receipt:
        contribution = staged(Ledger(store), silo, round_number=2)
        return counted(Ledger(store), Ledger(store).commit_contribution(contribution))

    return work


def tidying(store: Store) -> int:
    """Tidies all that is due; how many rounds."""
    return len(list(tidy(Ledger(store), NAME, now=LONG_AFTER, by="a test")))


def bytes_are_gone(ledger: Ledger, number: int) -> bool:
    """Whether any byte is gone of what the round's roster counts."""
    roster = ledger.roster(NAME, number)
    if roster is None:
        return False
    segments = [segment.key for one in ledger.roster_contributions(roster) for segment in one.segments]
    return not all(exists(ledger.store, key) for key in segments)


@settings(max_examples=60, deadline=None)
@given(orders, deaths_of_some)
def test_housekeeping_harms_no_round(order: Bursts, deaths: list[Actor]) -> None:
    """Whatever the order and whoever dies: what is receipted is counted, and nothing is gone without its record.

    A survivor publishes the round, and ends what others began to remove.
    """
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger, definition(quorum=1, rounds=3))
    contribute(ledger, "a")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        step(ledger, scratch, now=after(99))
        contribute(ledger, "a", round_number=2)
        work: dict[str, Callable[[Store], object]] = dict.fromkeys(TIDIERS, tidying)
        work |= {name: lambda store: step(Ledger(store), scratch, now=after(300)) for name in CUTTERS}
        work |= {"push b": push("b"), "push c": push("c")}
        results = run_interleaved(store, work, order=[who for who, times in order for _ in range(times)], deaths=deaths)
        unexplained = [n for n in (1, 2) if bytes_are_gone(ledger, n) and removal.find(store, NAME, n) is None]
        step(Ledger(store), scratch, now=after(300))

    roster = ledger.roster(NAME, 2)
    assert roster is not None
    receipted = {result.silo for result in results.values() if isinstance(result, Receipt)}
    assert (set(), 2, []) == (receipted - set(roster.silos), Ledger(store).latest_number(NAME), unexplained)
    # A cut alone may find its bytes gone: another replica had published its round, and then removed them.
    ends = (Receipt, RoundClosed, Published, Waiting, Died, int)
    assert [] == [one for name, one in results.items() if not isinstance(one, (*ends, *ALSO[name]))]
    tidying(store)
    assert [] == [key for number in (1, 2) for key in store.list(keys.uploads(NAME, number))]


ALSO: dict[str, tuple[type[Exception], ...]] = dict.fromkeys(NAMES, ()) | dict.fromkeys(CUTTERS, (InvariantBroken,))
