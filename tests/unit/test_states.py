"""Federations' state as metrics: read from the store, the same for every reader, whatever is damaged beside it."""

from datetime import datetime

import pytest

from aggregator.ledger import Ledger, keys
from aggregator.metrics import states
from aggregator.metrics.standing import Standing, standing_of
from aggregator.metrics.states import StateReader, States
from aggregator.stores.memory import MemoryStore
from isthmus.federation import FederationState
from tests.ledgers import NAME, after, contribute, definition, found


def no_trouble(name: str) -> str:
    """This replica is well, but for what is broken."""
    return "it is broken" if name == "broken" else ""


def told(told_by: States) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample, by the name of its family."""
    return {family.name: [(one.labels, one.value) for one in family.samples] for family in told_by.collect()}


def reader(ledger: Ledger, told_by: States, *, now: datetime) -> StateReader:
    """A reader whose turns the test takes itself."""
    return StateReader(ledger, told_by, clock=lambda: now, interval_seconds=1.0)


def standing(ledger: Ledger, *, seconds: float) -> Standing:
    """Where the tests' federation stands so many seconds after it was created."""
    return standing_of(ledger, NAME, now=after(seconds))


def test_phases_are_those_of_the_round() -> None:
    """Collecting, then overdue past the deadline without the quorum, paused while the operator wants it, finished."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(quorum=3))
    phases = [standing(ledger, seconds=1).phase, standing(ledger, seconds=61).phase]
    for state in (FederationState.PAUSED, FederationState.FINISHED):
        ledger.set_state(NAME, state, reason="", now=after(62))
        phases.append(standing(ledger, seconds=63).phase)

    assert phases == ["collecting", "overdue", "paused", "finished"]


def test_two_readers_tell_the_same() -> None:
    """A replica that has just started tells what one tells that saw it all."""
    store = MemoryStore()
    found(Ledger(store), definition(quorum=3))
    old = Ledger(store)
    before = standing(old, seconds=1)
    contribute(Ledger(store), "a")

    assert standing_of(old, NAME, now=after(2), before=before) == standing(Ledger(store), seconds=2)
    assert standing(old, seconds=2).num_contributions == 1


def test_damaged_federation_hides_no_other() -> None:
    """One whose definition is no document is told as this replica's trouble, and the others are told whole."""
    store = MemoryStore()
    found(Ledger(store), definition(quorum=3))
    store.put(keys.catalog("broken"), b"")
    store.put(keys.federation_file("broken"), b"no document")
    told_by = States(no_trouble)
    reader(Ledger(store), told_by, now=after(1)).turn()

    assert told(told_by)["isthmus_federations"] == [({}, 2)]
    assert told(told_by)["isthmus_round"] == [({"federation": NAME}, 1)]
    assert told(told_by)["isthmus_trouble"] == [({"federation": "broken"}, 1), ({"federation": NAME}, 0)]


def test_silos_are_capped_and_those_waited_for_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the cap silos have no series; who has not answered keeps its own, and how many are left out is told."""
    monkeypatch.setattr(states, "MAX_SILOS", 2)
    ledger = Ledger(MemoryStore())
    found(ledger, definition(quorum=3))
    contribute(ledger, "a")
    told_by = States(no_trouble)
    reader(ledger, told_by, now=after(1)).turn()
    waited = told(told_by)["isthmus_silo_waited_for"]
    (left_out,) = told(told_by)["isthmus_silos_left_out"]

    assert [labels["silo"] for labels, value in waited if value] == ["b", "c"]
    assert left_out[1] == len(ledger.active_silos(NAME)) - 2
