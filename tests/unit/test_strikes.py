"""Who is quarantined, told by what the store holds."""

import hashlib

import pytest

from aggregator.advance import view_of
from aggregator.ledger import Ledger, keys, strikes
from aggregator.ledger.strikes import Strikes
from aggregator.stores.memory import MemoryStore
from isthmus import errors
from isthmus.errors import DeltaNotFinite, SiloQuarantined, SiloUnknown
from tests.ledgers import NAME, START, contribute, definition, found

HOSTILE = {
    *(f.__name__ for f in errors.RefusedDelta.__subclasses__() if f is not errors.QuotaExceeded),
    "DeltaReplayed",
}


@pytest.fixture
def store() -> MemoryStore:
    """A store with federation harbour of silos a, b and c, and nothing refused yet."""
    store = MemoryStore()
    found(Ledger(store))
    return store


def strike(store: MemoryStore, silo: str, payload: str) -> Strikes:
    """Counts a hostile payload of this name."""
    name = hashlib.sha256(payload.encode()).hexdigest()
    return strikes.strike(store, NAME, silo, refusal=DeltaNotFinite("NaN"), payload_name=name, now=START)


def is_quarantined(store: MemoryStore, silo: str, *, after: int = 3) -> bool:
    """Whether pushes of the silo are refused; listing and check must agree."""
    listed = silo in strikes.quarantined(store, NAME, after=after)
    try:
        strikes.require_released(store, NAME, silo, after=after)
    except SiloQuarantined:
        assert listed
        return True
    assert not listed
    return False


def test_hostile_is_what_a_payload_brings() -> None:
    """Every refusal of a delta's content counts, and a replay; quotas, late deltas, conflicts and all else do not."""
    leaves = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.reason]

    assert HOSTILE == {kind.__name__ for kind in leaves if strikes.is_hostile(kind("text"))}


def test_silo_is_quarantined_at_the_limit() -> None:
    """The third different payload is the last one, for this silo alone."""
    store = MemoryStore()
    found(Ledger(store))
    seen = []
    for payload in "xyz":
        seen.append(is_quarantined(store, "a"))
        strike(store, "a", payload)

    assert ([False] * 3, True, False) == (seen, is_quarantined(store, "a"), is_quarantined(store, "b"))


def test_same_payload_counts_once(store: MemoryStore) -> None:
    """An honest silo that pushes its refused delta again, at any replica, is not quarantined for that."""
    for _ in range(10):
        assert Strikes(0, 1) == strike(store, "a", "x")

    assert not is_quarantined(store, "a", after=2)


def test_release_opens_an_epoch(store: MemoryStore) -> None:
    """After a release nothing counts that was before, not even again the very payloads; and the next three do."""
    for payload in "xyz":
        strike(store, "a", payload)
    released = strikes.release(store, NAME, "a", now=START)
    after_release = is_quarantined(store, "a")
    for payload in "xyz":
        strike(store, "a", payload)

    assert (True, False, True) == (released, after_release, is_quarantined(store, "a"))
    assert Strikes(1, 3) == strikes.standing(store, NAME, "a")


def test_release_again_changes_nothing(store: MemoryStore) -> None:
    """A release that is repeated, or of a silo with nothing against it, writes nothing."""
    strike(store, "a", "x")
    strikes.release(store, NAME, "a", now=START)
    before = list(store.list(""))

    assert [False, False] == [strikes.release(store, NAME, silo, now=START) for silo in "ab"]
    assert before == list(store.list(""))


@pytest.mark.parametrize("silo", ["nobody", "No Name", ""])
def test_release_of_nobody_is_refused(store: MemoryStore, silo: str) -> None:
    """Only who is invited can be released."""
    with pytest.raises(SiloUnknown):
        strikes.release(store, NAME, silo, now=START)


def test_nothing_is_overwritten(store: MemoryStore) -> None:
    """Strikes and releases are created once: racing replicas write the same keys, and none replaces another's."""
    for payload in "xy":
        strike(store, "a", payload)
    strikes.release(store, NAME, "a", now=START)
    strike(store, "a", "x")
    before = {entry.key: store.get(entry.key) for entry in store.list(keys.strikes(NAME))}
    for payload in "xyx":
        strike(store, "a", payload)
    strikes.release(store, NAME, "a", now=START)

    after = {entry.key: store.get(entry.key) for entry in store.list(keys.strikes(NAME))}
    assert before == {key: after[key] for key in before}
    assert [f"{keys.strikes_of(NAME, 'a')}/{epoch}" for epoch in (0, 0, 1, 1, 1, 2)] == sorted(
        key.rpartition("/")[0] for key in after
    )


def test_zero_quarantines_nobody(store: MemoryStore) -> None:
    """Where the federation says 0 no number of strikes bars a silo."""
    for number in range(20):
        strike(store, "a", str(number))

    assert not is_quarantined(store, "a", after=0)


def test_nobody_waits_for_a_quarantined_silo() -> None:
    """A quarantined silo is no reason for a round to stay open, unless what it contributed before counts."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition() + "admission.quarantine_after = 2")
    contribute(ledger, "b")
    for silo in "ab":
        for payload in "xy":
            strike(ledger.store, silo, payload)

    view = view_of(ledger, NAME, 1, listed=[("b", 1)])

    assert (("a",), ("c",), ("b",)) == (view.refused, view.waited_for, view.contributed)
