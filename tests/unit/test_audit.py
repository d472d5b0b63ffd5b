"""What is on record about the pushes of a silo to a round."""

import pytest

from aggregator.ledger import Ledger, keys
from aggregator.ledger.audit import first_broken_link
from aggregator.stores.memory import MemoryStore
from isthmus.errors import NameInvalid
from tests.ledgers import NAME, after, contribute, found
from tests.ledgers import START as NOW


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    """A ledger with one federation of silos a, b, c."""
    ledger = Ledger(store)
    found(ledger)
    return ledger


def test_audit_is_a_chain_that_shows_tampering(ledger: Ledger, store: MemoryStore) -> None:
    """Every record carries the digest of the one before, so changing one breaks the chain behind it."""
    for number in range(5):
        ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid(f"refusal {number}", limit=3), now=after(number))
    ledger.record_admission(contribute(ledger, "a"))
    chain = ledger.audit_records(NAME, 1, "a")
    whole = first_broken_link(chain)
    key = f"{keys.audit(NAME, 1, 'a')}/002.json"
    store.put(key, store.get(key).replace(b"refusal 2", b"refusal X"))

    assert (None, 3, [*["delta.refused"] * 5, "delta.admitted"]) == (
        whole,
        first_broken_link(ledger.audit_records(NAME, 1, "a")),
        [record.fields["event"]["event"] for record in chain],
    )


def test_last_refusal_is_that_of_the_last_push(ledger: Ledger) -> None:
    """What is told is the last push's refusal, and nothing once it was admitted."""
    told = [ledger.last_refusal(NAME, 1, "a")]
    for text in ("first", "second"):
        ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid(text), now=NOW)
        told.append(ledger.last_refusal(NAME, 1, "a"))
    ledger.record_admission(contribute(ledger, "a"))

    assert ["", "first", "second", ""] == [*told, ledger.last_refusal(NAME, 1, "a")]
    assert (("a",), ()) == (ledger.recorded_silos(NAME, 1), ledger.recorded_silos(NAME, 11))


def test_audit_has_an_end(ledger: Ledger) -> None:
    """A silo that goes on pushing what is refused fills no store: past a limit nothing is recorded."""
    kept = [ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid("x" * 9999), now=NOW) for _ in range(258)]

    assert ([True] * 256 + [False] * 2, 256) == (kept, len(ledger.audit_records(NAME, 1, "a")))
