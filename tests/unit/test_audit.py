"""What is on record about the pushes of a silo to a round."""

from pathlib import Path

import pytest

from aggregator.advance import Published
from aggregator.ledger import Ledger, keys
from aggregator.ledger.audit import AuditRecord, Trail, admission_document
from aggregator.stores.memory import MemoryStore
from aggregator.verifying.evidence import Evidence
from aggregator.verifying.findings import Findings
from aggregator.verifying.trails import check_trail
from isthmus.errors import NameInvalid
from tests.ledgers import NAME, after, contribute, found, step
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


def recorded(store: MemoryStore) -> list[str]:
    """Everything on record of round 1, below its folder."""
    prefix = keys.audits(NAME, 1)
    return [entry.key.removeprefix(f"{prefix}/") for entry in store.list(prefix)]


def first_broken_link(store: MemoryStore) -> str | None:
    """The key at which `isthmus verify` finds silo a's trail of round 1 broken; None when it is whole."""
    findings = Findings()
    contribution = Ledger(store).contribution(NAME, 1, "a")
    check_trail(Evidence(store, NAME, findings), Trail(NAME, 1, "a"), contribution=contribution)
    return findings.broken[0].key if findings.broken else None


def test_refusals_are_a_chain_that_shows_what_is_missing(ledger: Ledger, store: MemoryStore) -> None:
    """Every refusal carries the digest of the one before, so changing or taking one out breaks the chain behind it."""
    for number in range(5):
        ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid(f"refusal {number}", limit=3), now=after(number))
    ledger.record_admission(contribute(ledger, "a"))
    written = [keys.refusal(NAME, 1, "a", sequence=number) for number in range(5)]
    chain = [AuditRecord.from_json(store.get(key)) for key in written]
    kept, whole = recorded(store), first_broken_link(store)
    store.delete(written[2])

    assert (None, written[2], [f"refusal {number}" for number in range(5)]) == (
        whole,
        first_broken_link(store),
        [record.fields["event"]["message"] for record in chain],
    )
    assert [*(f"a/{number:03d}.json" for number in range(5)), "a/admitted.json"] == kept


def test_last_refusal_is_that_of_the_last_push(ledger: Ledger) -> None:
    """What is told is the last push's refusal: nothing once a push was admitted, and again what was refused since."""
    told = [ledger.last_refusal(NAME, 1, "a")]
    for text in ("first", "second"):
        ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid(text), now=NOW)
        told.append(ledger.last_refusal(NAME, 1, "a"))
    ledger.record_admission(contribute(ledger, "a"))
    told.append(ledger.last_refusal(NAME, 1, "a"))
    ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid("third"), now=after(2))

    assert ["", "first", "second", "", "third"] == [*told, ledger.last_refusal(NAME, 1, "a")]
    assert (("a",), ()) == (ledger.recorded_silos(NAME, 1), ledger.recorded_silos(NAME, 11))


def test_refusals_have_an_end_and_the_admission_has_its_place(ledger: Ledger, store: MemoryStore) -> None:
    """A silo that goes on pushing what is refused fills no store, and keeps no admission from being recorded."""
    kept = [ledger.record_refusal(NAME, 1, "a", refusal=NameInvalid("x" * 9999), now=NOW) for _ in range(258)]
    ledger.record_admission(contribute(ledger, "a"))

    assert [True] * 256 + [False] * 2 == kept
    assert ("a/255.json", "a/admitted.json") == tuple(recorded(store)[-2:])


def test_admission_is_recorded_once(ledger: Ledger, store: MemoryStore) -> None:
    """However often it is asked, there is one record of a contribution, and it follows from the contribution."""
    contribution = contribute(ledger, "a")
    ledger.record_admission(contribution)
    ledger.record_admissions([contribution, contribution])

    assert ["a/admitted.json"] == recorded(store)
    assert admission_document(contribution) == store.get(keys.admission(NAME, 1, "a"))


def test_committers_that_died_leave_nothing_unrecorded(ledger: Ledger, store: MemoryStore, tmp_path: Path) -> None:
    """Contributions whose committers died before they recorded them are on record once their round is published."""
    for silo in "abc":
        contribute(ledger, silo)
    before = recorded(store)

    assert isinstance(step(ledger, tmp_path), Published)
    assert ([], [f"{silo}/admitted.json" for silo in "abc"]) == (before, recorded(store))
