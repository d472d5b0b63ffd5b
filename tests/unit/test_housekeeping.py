"""What goes when its time is up, and what stays."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aggregator.advance import Published, counted
from aggregator.housekeeping import POINTS, Due, Kind, Tidied, due, further, over, tidy
from aggregator.ledger import Ledger, keys, removal
from aggregator.ledger.documents import Closing, Upload
from aggregator.stores.memory import MemoryStore
from isthmus.errors import InvariantBroken
from isthmus.federation import FederationState
from tests.interleaving import Died
from tests.ledgers import NAME, after, contribute, definition, found, stage, staged, step

RETENTION = "retention = { deltas_days = 10, abandoned_uploads_hours = 5 }\n"
LATE = Upload(NAME, 1, "c", "f" * 64)
"""A push of silo c to round 1 that nothing ever refers to."""


def on_day(day: float) -> datetime:
    """An instant so many days after the cut of round 1."""
    return after(99) + timedelta(days=day)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    """A federation whose round 1 is published with silos a and b, and whose round 2 has a contribution of a."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger, definition() + RETENTION)
    for silo in "ab":
        contribute(ledger, silo)
    assert isinstance(step(ledger, tmp_path, now=after(99)), Published)
    contribute(ledger, "a", round_number=2)
    staged(ledger, "b", round_number=2)
    stage(ledger, LATE, b"late")
    return store


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    """The ledger of that store."""
    return Ledger(store)


def contents(store: MemoryStore) -> dict[str, bytes]:
    """All that the store holds."""
    return {entry.key: store.get(entry.key) for entry in store.list("")}


def tidied(ledger: Ledger, *, day: float) -> list[Due]:
    """What is removed on that day, in rounds where anything is."""
    return [done for done in tidy(ledger, NAME, now=on_day(day), by="a test") if done.entries]


def test_deltas_go_when_their_days_are_over(store: MemoryStore, ledger: Ledger) -> None:
    """After its days the round's staged bytes are gone and on record as removed; every other key is as it was."""
    before = contents(store)
    prefix = keys.uploads(NAME, 1)
    gone = {key: content for key, content in before.items() if key.startswith(prefix)}

    (done,) = tidied(ledger, day=10)

    record = removal.find(store, NAME, 1)
    assert record is not None
    assert (Kind.DELTAS, sorted(gone)) == (done.kind, sorted(entry.key for entry in done.entries))
    assert (on_day(10), "a test", len(gone)) == (record.removed_at, record.removed_by, record.num_segments)
    assert (sum(map(len, gone.values())), "for 10 days" in record.reason) == (record.size_bytes, True)
    kept = {key: content for key, content in before.items() if key not in gone}
    assert kept | {keys.removal(NAME, 1): record.to_json()} == contents(store)


def test_uploads_that_nothing_counts_go_before(store: MemoryStore, ledger: Ledger) -> None:
    """After its hours what no contribution of the round refers to is gone, with no record; counted bytes stay."""
    before = contents(store)

    nothing, (done,) = tidied(ledger, day=4.9 / 24), tidied(ledger, day=5 / 24)

    (entry,) = done.entries
    assert ([], Kind.UPLOADS, b"late") == (nothing, done.kind, before.pop(entry.key))
    assert before == contents(store)


@pytest.mark.parametrize("state", [FederationState.RUNNING, FederationState.PAUSED])
def test_open_round_is_never_touched(store: MemoryStore, ledger: Ledger, state: FederationState) -> None:
    """However old the open round is, what was contributed and staged for it stays, running or paused."""
    ledger.set_state(NAME, state, reason="", now=after(100))
    open_round = {key for key in contents(store) if key.startswith(keys.uploads(NAME, 2))}

    tidied(ledger, day=10_000)

    assert (set(), 0) == (open_round - set(contents(store)), len(open_round) == 0)


def test_open_round_of_a_finished_federation_goes(store: MemoryStore, ledger: Ledger) -> None:
    """Where the operator finished the federation, the open round's bytes go too, counted from then."""
    ledger.set_state(NAME, FederationState.FINISHED, reason="", now=on_day(20))

    early, late = tidied(ledger, day=20), tidied(ledger, day=30)

    assert ([1], [2]) == ([done.round for done in early], [done.round for done in late])
    assert [] == [key for key in contents(store) if "/uploads/" in key]


def test_cut_that_has_begun_keeps_its_bytes(ledger: Ledger, tmp_path: Path) -> None:
    """A finished federation whose last cut has begun keeps that round's bytes: the cut is brought to its end."""
    ledger.mark_closing(NAME, Closing(round=2, reason="test", cut_at=on_day(1)))
    ledger.set_state(NAME, FederationState.FINISHED, reason="", now=on_day(1))

    tidied(ledger, day=100)

    assert isinstance(step(Ledger(ledger.store), tmp_path, now=on_day(101)), Published)
    assert [2] == [done.round for done in tidied(ledger, day=102)]


def test_dry_run_changes_nothing(store: MemoryStore, ledger: Ledger) -> None:
    """Asking what is due tells the same as tidying does, and leaves all as it is."""
    before = contents(store)

    told = [one for one in due(ledger, NAME, now=on_day(10)) if one.entries]

    assert before == contents(store)
    assert told == tidied(ledger, day=10)


def test_second_removal_leaves_the_record(store: MemoryStore, ledger: Ledger) -> None:
    """What arrives in a round whose deltas were removed goes too, and the first record stands."""
    tidied(ledger, day=10)
    stage(ledger, LATE, b"later still")

    again, nothing = tidied(ledger, day=11), tidied(ledger, day=12)

    record = removal.find(store, NAME, 1)
    assert ([1], [], on_day(10)) == ([done.round for done in again], nothing, record.removed_at if record else None)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("times", [1, 3])
def test_tidying_that_dies_is_taken_up_again(store: MemoryStore, ledger: Ledger, point: str, times: int) -> None:
    """Wherever tidying dies: no byte is gone without a record, and the next one ends as if nothing had happened."""
    before = set(contents(store))
    calls = iter(range(times - 1))

    def dying(reached: str) -> None:
        if reached == point and next(calls, None) is None:
            raise Died

    try:
        list(tidy(ledger, NAME, now=on_day(10), by="who dies", at=dying))
    except Died:
        left = contents(store)
        assert keys.removal(NAME, 1) in left or before == set(left)
    tidied(Ledger(store), day=11)

    assert [] == [key for key in contents(store) if key.startswith(keys.uploads(NAME, 1))]


def test_rounds_that_are_done_are_not_looked_at_again(ledger: Ledger) -> None:
    """With what an earlier call told, tidied rounds are passed over; without it they are found to be empty."""
    since = Tidied()
    for done in tidy(ledger, NAME, now=on_day(10), by="a test"):
        since = further(since, done)

    assert (Tidied(1, 1), [], [1]) == (
        since,
        list(due(ledger, NAME, now=on_day(10), since=since)),
        [one.round for one in due(ledger, NAME, now=on_day(10))],
    )


def test_removed_delta_keeps_its_receipt_and_tells_why_it_cannot_be_read(ledger: Ledger) -> None:
    """After the removal a repeated push is receipted as before, and who reads the bytes is told since when."""
    contribution = ledger.contribution(NAME, 1, "a")
    assert contribution is not None
    receipt = counted(ledger, contribution)

    tidied(ledger, day=10)

    assert receipt == counted(ledger, contribution)
    with pytest.raises(InvariantBroken, match=f"silo a are removed, since {on_day(10):%Y-%m-%d}"):
        ledger.payload(contribution)(0, 10)


def test_replica_that_slept_through_a_removal_does_no_harm(ledger: Ledger, tmp_path: Path) -> None:
    """A replica that stood still in a cut until others had published it and removed its deltas publishes nothing."""
    contribute(ledger, "b", round_number=2)

    def sleep(point: str) -> None:
        if point == "roster":
            step(Ledger(ledger.store), tmp_path, now=on_day(1))
            tidied(Ledger(ledger.store), day=50)

    with pytest.raises(InvariantBroken, match="removed, since"):
        step(ledger, tmp_path, now=on_day(1), at=sleep)

    assert (2, 3) == (ledger.latest_number(NAME), getattr(step(ledger, tmp_path, now=on_day(50)), "round", None))


def test_federation_that_did_all_its_rounds_is_tidied_to_its_end(tmp_path: Path) -> None:
    """Once all rounds are published, the last one's deltas go like any other's, and tidying ends there."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(rounds=1) + RETENTION)
    for silo in "ab":
        contribute(ledger, silo)
    step(ledger, tmp_path, now=after(99))

    assert [1] == [done.round for done in tidied(ledger, day=10)]


BUFFERED = definition(quorum=2, most=2, rounds=9).replace("participation = {", "participation = { max_staleness = 1,")


def test_delta_that_a_later_round_may_count_is_kept(tmp_path: Path) -> None:
    """In buffered mode a round is over once the last round is cut that may count it; then its deltas go as ever."""
    ledger = Ledger(MemoryStore())
    found(ledger, BUFFERED + RETENTION)
    for silo in "ab":
        contribute(ledger, silo)
    step(ledger, tmp_path, now=after(99))
    contribute(ledger, "c")  # from projector 0, too late for round 1: round 2 counts it
    early = tidied(ledger, day=99)
    contribute(ledger, "a", round_number=2)
    outcome = step(ledger, tmp_path, now=on_day(100))
    late = tidied(ledger, day=110)

    assert isinstance(outcome, Published)
    assert ([], ("a", "c"), [1]) == (early, outcome.roster.silos, [done.round for done in late])


def test_late_delta_keeps_its_round_until_no_roster_can_count_it(tmp_path: Path) -> None:
    """In buffered mode a round is over once the last round that may count its deltas is published."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(most=2, participation="max_staleness = 1") + RETENTION)
    overs = []
    for number, day in ((1, 0), (2, 8)):
        for silo in "ab":
            contribute(ledger, silo, round_number=number)
        assert isinstance(step(ledger, tmp_path, now=on_day(day)), Published)
        overs.append(over(ledger, ledger.federation(NAME), 1, latest=number))

    assert [None, on_day(8)] == overs
    assert ([], [1]) == (
        [done.round for done in tidied(ledger, day=11)],
        [done.round for done in tidied(ledger, day=18)],
    )
