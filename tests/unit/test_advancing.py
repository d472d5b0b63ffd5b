"""What the loop that advances federations tells: each change once, loudly where somebody must act."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from aggregator.advancing import Advancing
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing
from aggregator.metrics.meters import Meters
from aggregator.stores import Entry, Store
from aggregator.stores.memory import MemoryStore
from isthmus.errors import StoreUnavailable
from isthmus.federation import FederationState
from isthmus.logs import Event
from tests.ledgers import NAME, after, contribute, definition, found, held_out

Told = list[tuple[str, int, dict[str, object]]]


class Tellings(logging.Handler):
    """Keeps what the loop logs: event, level, facts."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Told = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one record."""
        self.told.append((record.getMessage(), record.levelno, getattr(record, "facts", {})))

    def of(self, event: Event) -> Told:
        """Those of one event."""
        return [one for one in self.told if one[0] == event.value]


class NoDeletes:
    """A store that refuses to delete; all else is the store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.get, self.put, self.put_if_absent = store.get, store.put, store.put_if_absent
        self.list = store.list

    def delete(self, key: str) -> None:
        """Refuses."""
        raise StoreUnavailable(f"{key} cannot be deleted.")


class Forgetful:
    """A store with a bug: reading one key raises what no store may raise."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self.put, self.put_if_absent, self.list, self.delete = store.put, store.put_if_absent, store.list, store.delete

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """Fails on that key."""
        if key == self._key:
            raise ZeroDivisionError
        return self._store.get(key, start=start, size=size)


class Slow:
    """A store whose listings take a while; all else is the store's own."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self.get, self.put, self.put_if_absent, self.delete = store.get, store.put, store.put_if_absent, store.delete

    def list(self, prefix: str) -> Iterator[Entry]:
        """Takes its time."""
        time.sleep(self._seconds)
        return self._store.list(prefix)


@pytest.fixture
def tellings() -> Iterator[Tellings]:
    """What the loop logs during the test."""
    handler = Tellings()
    logger = logging.getLogger("aggregator.advancing")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def loop(
    ledger: Ledger, scratch: Path, *, clock: Callable[[], datetime], store_answers: list[bool] | None = None
) -> Advancing:
    """A loop whose turns the test takes itself."""
    told: list[bool] = [] if store_answers is None else store_answers
    return Advancing(
        ledger,
        clock=clock,
        interval_seconds=1.0,
        memory_budget_bytes=16 * 1024 * 1024,
        scratch=scratch,
        on_publish=lambda: None,
        on_store=told.append,
        meters=Meters(),
    )


def test_deadline_without_quorum_is_told_once_as_a_warning(tellings: Tellings, tmp_path: Path) -> None:
    """However many turns pass and whoever contributes meanwhile, a round is told as overdue once."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(quorum=3))
    seconds = iter((1, 61, 62, 63))
    advancing = loop(ledger, tmp_path, clock=lambda: after(next(seconds)))
    for silo in ("", "", "a", "b"):
        if silo:
            contribute(ledger, silo)
        advancing.turn()

    told = tellings.of(Event.ROUND_OVERDUE)
    assert [(logging.WARNING, 1)] == [(level, facts["round"]) for _, level, facts in told]
    assert 4 == len(tellings.of(Event.ROUND_WAITING))


def test_abandoned_round_is_told_as_a_warning(tellings: Tellings, tmp_path: Path) -> None:
    """An abandoned round is no published projector like any other."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(rounds=1, participation='without_quorum = "abandon"'))
    contribute(ledger, "a")
    loop(ledger, tmp_path, clock=lambda: after(60)).turn()

    reasons = [(level, facts["reason"]) for _, level, facts in tellings.of(Event.ROUND_ABANDONED)]
    assert [
        (
            logging.WARNING,
            "Round 1 was abandoned with 1 contribution of the 2 that its quorum needs because its time was up at "
            "2026-03-01 12:01:00 UTC, without b and c.",
        )
    ] == reasons
    assert [] == tellings.of(Event.PROJECTOR_PUBLISHED)


def test_reverted_round_is_told_as_a_warning(tellings: Tellings, tmp_path: Path) -> None:
    """A round that was taken back is no published projector like any other: the figures say why, and what it is now."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(rounds=2) + "\nevaluation.gate = {}\n")
    for number, loss in ((1, 2.0), (2, 3.0)):
        for silo in "abc":
            contribute(ledger, silo, round_number=number, metrics=held_out(loss))
        loop(ledger, tmp_path, clock=lambda: after(60)).turn()

    assert [1] == [facts["round"] for _, _, facts in tellings.of(Event.PROJECTOR_PUBLISHED)]
    ((_, level, facts),) = tellings.of(Event.ROUND_REVERTED)
    reason = str(facts["reason"])
    assert (logging.WARNING, 2) == (level, facts["round"])
    assert "of 3 silos that evaluated projector 1 and the one it was made from" in reason
    assert "(median +50.00%). Projector 2 is that earlier one again." in reason


def test_full_scratch_folder_is_not_the_stores_trouble(tellings: Tellings, tmp_path: Path) -> None:
    """A scratch folder that fails is told by its name, with what to do; the store's health stays what it is."""
    ledger = Ledger(MemoryStore())
    found(ledger)
    for silo in "abc":
        contribute(ledger, silo)
    store_answers: list[bool] = []
    scratch = tmp_path / "gone"
    advancing = loop(ledger, scratch, clock=lambda: after(1), store_answers=store_answers)
    for _ in range(3):
        advancing.turn()
    trouble = advancing.trouble(NAME)
    scratch.mkdir()
    advancing.turn()

    assert [] == store_answers
    assert [(logging.ERROR, trouble)] == [
        (level, facts["reason"]) for _, level, facts in tellings.of(Event.ADVANCE_FAILED)
    ]
    assert (True, True, "", 1) == (
        str(scratch) in trouble,
        "Make room" in trouble,
        advancing.trouble(NAME),
        ledger.latest_number(NAME),
    )


def test_failed_sweep_does_not_hide_what_was_published(tellings: Tellings, tmp_path: Path) -> None:
    """What cannot be deleted is told; the projector is published, announced, and the store's health stays."""
    store = MemoryStore()
    found(Ledger(store), definition(rounds=1))
    for silo in "abc":
        contribute(Ledger(store), silo)
    store.put(f"federations/{NAME}/uploads/1/left/over", b"x")
    store_answers: list[bool] = []
    ledger = Ledger(NoDeletes(store))
    loop(ledger, tmp_path, clock=lambda: after(1), store_answers=store_answers).turn()

    assert (1, 1, []) == (
        len(tellings.of(Event.PROJECTOR_PUBLISHED)),
        len(tellings.of(Event.SWEEP_FAILED)),
        store_answers,
    )


def test_cut_that_does_not_come_through_says_why(tmp_path: Path) -> None:
    """A marker whose round cannot be aggregated is trouble as long as it is, and none once it is mended."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    kept = contribute(ledger, "a").segments[-1]
    contribute(ledger, "b")
    content = store.get(kept.key)
    store.delete(kept.key)
    ledger.mark_closing(NAME, Closing(1, "its time was up", after(60)))
    advancing = loop(ledger, tmp_path, clock=lambda: after(61))
    advancing.turn()
    trouble = advancing.trouble(NAME)
    store.put(kept.key, content)
    advancing.turn()

    assert (True, "", 1) == ("silo a" in trouble, advancing.trouble(NAME), ledger.latest_number(NAME))


def test_bug_in_one_federation_stops_no_other(tellings: Tellings, tmp_path: Path) -> None:
    """Whatever one federation's step raises, the next one's is taken, and the trouble is told."""
    store = MemoryStore()
    for name in ("anchor", NAME):
        found(Ledger(store), definition(name))
        for silo in "abc":
            contribute(Ledger(store), silo, federation=name)
    broken = Ledger(store).contribution("anchor", 1, "a")
    assert broken is not None
    advancing = loop(Ledger(Forgetful(store, broken.segments[-1].key)), tmp_path, clock=lambda: after(1))
    advancing.turn()

    assert (True, "", 1) == (
        "ZeroDivisionError" in advancing.trouble("anchor"),
        advancing.trouble(NAME),
        Ledger(store).latest_number(NAME),
    )


def test_damaged_definition_stops_no_other_federation(tmp_path: Path) -> None:
    """A federation whose definition cannot be read is told as trouble; the others advance, and are still listed."""
    store = MemoryStore()
    for name in ("anchor", NAME):
        found(Ledger(store), definition(name))
        for silo in "abc":
            contribute(Ledger(store), silo, federation=name)
    key = "federations/anchor/federation.json"
    store.put(key, store.get(key).replace(b"anchor", b"anchos"))
    ledger = Ledger(store)
    advancing = loop(ledger, tmp_path, clock=lambda: after(1))
    advancing.turn()

    assert ["anchor", NAME] == ledger.federations()
    assert ("damaged" in advancing.trouble("anchor"), 1) == (True, ledger.latest_number(NAME))


def test_cut_that_began_before_the_operators_finish_is_ended(tmp_path: Path) -> None:
    """A replica that saw the federation finished still ends a cut whose marker another one wrote after that."""
    ledger = Ledger(MemoryStore())
    found(ledger)
    contribute(ledger, "a")
    contribute(ledger, "b")
    ledger.set_state(NAME, FederationState.FINISHED, reason="", now=after(2))
    advancing = loop(ledger, tmp_path, clock=lambda: after(3))
    advancing.turn()
    ledger.mark_closing(NAME, Closing(1, "its time was up", after(1)))
    advancing.turn()

    assert 1 == ledger.latest_number(NAME)


def test_loop_that_is_woken_all_the_time_rests_half_of_it(tmp_path: Path) -> None:
    """Pushes of a crowd, each of which wakes the loop, do not keep it looking: it rests for as long as a look took."""
    store = MemoryStore()
    found(Ledger(store))
    looks: list[float] = []

    def now() -> datetime:
        looks.append(time.monotonic())
        return after(1)

    advancing = loop(Ledger(Slow(store, 0.02)), tmp_path, clock=now)
    begin = time.monotonic()
    advancing.start()
    while time.monotonic() < begin + 1.0:
        advancing.wake()
        time.sleep(0.001)
    advancing.stop(timeout=5.0)

    one_look = 5 * 0.02  # five listings, and as long a rest
    assert 2 <= len(looks) <= 1.0 / (2 * one_look) + 2
