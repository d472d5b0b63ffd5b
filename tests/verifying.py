"""A federation whose store holds every kind of object, for tests that damage it."""

import hashlib
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from aggregator.ledger import Ledger, acts, replays, strikes
from aggregator.ledger.acts import Act
from aggregator.ledger.canonical import canonical, fields_of
from aggregator.ledger.round_records import record_rounds
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from aggregator.trust_domains import vouchers_in
from aggregator.verifying.verify import Trusted, Verdict, verify
from isthmus.contribution import Receipt
from isthmus.errors import NameInvalid
from isthmus.federation import FederationState
from isthmus.wire import receipt_from_proto
from tests import pki
from tests.ledgers import NAME, after, contribute, definition, enrol, found, staged, step

SILOS = ("a", "b", "c", "d")
TRUSTED = Trusted(vouchers_in(pki.authority().pem, where="the tests' authority"), pki.operator().aggregator_keys)
OPERATOR = str(pki.operator().spiffe_id)
ORPHAN = b"what a replica that died had put"


def populate(store: Store, scratch: Path) -> None:
    """Two rounds published, finished in the third; refusals, strikes, a late delta, a broken upload, a silo barred."""
    ledger = Ledger(store)
    found(ledger, definition(rounds=4), silos=SILOS)
    enrol(ledger, "c", name="another", now=after(1), replace=True)
    ledger.revoke(NAME, "d")
    for number in (1, 2):
        for text in ("first", "second", "third"):
            ledger.record_refusal(NAME, number, "c", refusal=NameInvalid(text), now=after(number))
        for silo in "ab":
            replays.claim(ledger, staged(ledger, silo, round_number=number).header, silo)
            ledger.record_admission(contribute(ledger, silo, round_number=number))
        acts.append(store, NAME, Act(after(90 * number), OPERATOR, "silo.invited", "e", {"replace": "false"}))
        step(ledger, scratch, now=after(100 * number))
        record_rounds(ledger, NAME)
    ledger.record_admission(contribute(ledger, "c", round_number=2))  # after the cut
    ledger.drop_upload(staged(ledger, "a", round_number=3).upload)
    ledger.record_admission(contribute(ledger, "b", round_number=3))
    staged(ledger, "c", round_number=3)
    ledger.put_blob(NAME, ORPHAN, digest=hashlib.sha256(ORPHAN).digest())
    late = staged(ledger, "c", round_number=2).header
    replays.claim(ledger, late, "c")
    replays.claim(ledger, replace(late, round=3), "d")  # c's came too late to be counted
    for silo, payload in (("b", "f"), ("c", "e"), ("c", "f")):
        strikes.strike(store, NAME, silo, refusal=NameInvalid("no"), payload_name=payload * 64, now=after(300))
    strikes.release(store, NAME, "c", now=after(301))
    for state in (FederationState.PAUSED, FederationState.RUNNING, FederationState.FINISHED):
        ledger.set_state(NAME, state, reason="a test's", now=after(400))


@cache
def objects() -> dict[str, bytes]:
    """All of it, by key."""
    store = MemoryStore()
    with tempfile.TemporaryDirectory() as scratch:
        populate(store, Path(scratch))
    return {entry.key: store.get(entry.key) for entry in store.list("")}


def store_with(contents: dict[str, bytes]) -> MemoryStore:
    """A store that holds these objects."""
    store = MemoryStore()
    for key, content in contents.items():
        store.put(key, content)
    return store


def change(store: MemoryStore, key: str, **fields: object) -> None:
    """Rewrites fields of a document, and seals it anew as a forger would."""
    store.put(key, canonical(fields_of(store.get(key)) | fields))


def of_store(store: MemoryStore, kind: str) -> list[str]:
    """The keys of a store that hold this text."""
    return [entry.key for entry in store.list("") if kind in entry.key]


def verdict_of(
    store: Store, *, receipts: tuple[Receipt, ...] = (), only: int | None = None, name: str = NAME
) -> Verdict:
    """What verifying finds there."""
    with tempfile.TemporaryDirectory() as scratch:
        return verify(
            store,
            name,
            only=only,
            receipts=receipts,
            trusted=TRUSTED,
            memory_budget_bytes=16 << 20,
            scratch=Path(scratch),
        )


def of(kind: str) -> list[str]:
    """The keys that hold this text, sorted."""
    return sorted(key for key in objects() if kind in key)


def receipt_of(silo: str, round_number: int) -> Receipt:
    """What a silo holds for its contribution, signed by the aggregator."""
    contribution = Ledger(store_with(objects())).contribution(NAME, round_number, silo)
    assert contribution is not None
    return sealed(contribution.receipt)


def sealed(receipt: Receipt) -> Receipt:
    """The receipt with the aggregator's signature."""
    return receipt_from_proto(pki.seal().receipt(receipt))
