"""`isthmus verify` on stores that are whole, forged, or not what a receipt says."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aggregator.ledger import Ledger, keys
from aggregator.ledger.canonical import fields_of
from aggregator.stores.memory import MemoryStore
from aggregator.trust_domains import vouchers_in
from aggregator.verifying.verify import Trusted, verify
from isthmus.authority import new_authority
from isthmus.errors import FederationUnknown, ProjectorUnknown
from tests import pki
from tests.ledgers import NAME, contribute, found, staged
from tests.verifying import TRUSTED, change, objects, of, receipt_of, store_with, verdict_of


@pytest.fixture
def store() -> MemoryStore:
    """A store with every kind of object; see `tests.verifying.populate`."""
    return store_with(objects())


def test_one_round_can_be_verified_alone(store: MemoryStore) -> None:
    """With a round named, that round is recomputed, and what lies elsewhere is not looked at."""
    store.put(keys.silo(NAME, "a"), b"damaged")
    store.delete(keys.projector(NAME, 1))

    assert (2,) == verdict_of(store_with(objects()), only=2).recomputed
    assert [keys.projector(NAME, 1)] == [link.key for link in verdict_of(store, only=2).broken]


@pytest.mark.parametrize("number", [0, 3, 99])
def test_round_that_is_not_published_is_told(store: MemoryStore, number: int) -> None:
    """Asking for a round that is not published names what is."""
    with pytest.raises(ProjectorUnknown, match="published rounds 1 to 2"):
        verdict_of(store, only=number)


@pytest.mark.parametrize("name", ["nowhere", "../harbour", ""])
def test_unknown_federation_is_told(store: MemoryStore, name: str) -> None:
    """A federation of which the store holds nothing is an error, not a verdict."""
    with pytest.raises(FederationUnknown):
        verdict_of(store, name=name)


def test_lost_definition_is_a_broken_link(store: MemoryStore) -> None:
    """Where the definition is gone but the rest is there, that is what is broken."""
    store.delete(keys.federation_file(NAME))

    assert [keys.federation_file(NAME)] == [link.key for link in verdict_of(store).broken]


def test_forged_projector_is_found(store: MemoryStore) -> None:
    """A projector in the place of the published one, its digest and manifest made to fit, is not what was computed."""
    forged = bytearray(store.get(keys.blob(NAME, Ledger(store).manifest(NAME, 2).digest)))
    forged[-4:] = b"\0\0\0\0"
    digest = hashlib.sha256(forged).hexdigest()
    store.put(keys.blob(NAME, bytes.fromhex(digest)), bytes(forged))
    change(store, keys.projector(NAME, 2), digest=digest)

    first = verdict_of(store).broken[0]
    assert (keys.projector(NAME, 2), f"digest {digest}") == (first.key, first.found)
    assert "is not what its roster gives" in first.meaning


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("silos", ["a"]),
        ("num_examples", 1),
        ("metrics", {}),
        ("rule", "median"),
        ("server_optimizer", "sgd"),
        ("cut_at", "2026-01-01T00:00:00.000000+00:00"),
        ("tolerance", 0.5),
        ("parent_digest", "00" * 32),
        ("size_bytes", 1),
    ],
)
def test_forged_manifest_is_found(store: MemoryStore, field: str, value: object) -> None:
    """Whatever else a manifest says otherwise than its round gives, it is named."""
    change(store, keys.projector(NAME, 2), **{field: value})

    broken = verdict_of(store).broken
    assert keys.projector(NAME, 2) in {link.key for link in broken}


def test_forged_weight_is_found(store: MemoryStore) -> None:
    """A contribution whose weight was changed is neither what its silo signed nor what the roster names."""
    change(store, keys.contribution(NAME, 1, "a"), num_examples=999)

    broken = [link.meaning for link in verdict_of(store).broken if link.key == keys.contribution(NAME, 1, "a")]
    assert [
        "The contribution of silo a to round 1 was changed or forged: that silo did not sign this.",
        "The roster of round 1 counted another contribution of silo a.",
    ] == broken[:2]


@pytest.mark.parametrize("fields", [{"signature": ""}, {"signature": "00" * 64}, {"nonce": "00" * 16}])
def test_stripped_or_forged_signature_is_found(store: MemoryStore, fields: dict[str, str]) -> None:
    """Without its silo's own signature a contribution is a broken link."""
    change(store, keys.contribution(NAME, 1, "a"), **fields)

    assert "did not sign this" in verdict_of(store).broken[0].meaning


def test_silo_that_nobody_vouched_for_is_found(store: MemoryStore) -> None:
    """Whoever can write to the store can make a silo's keys, and not the authority's signature under them."""
    forger = new_authority(pki.TRUST_DOMAIN, now=datetime.now(UTC))
    trusted = Trusted(vouchers_in(forger.pem, where="it"), TRUSTED.aggregator_keys)

    with tempfile.TemporaryDirectory() as scratch:
        verdict = verify(store, NAME, trusted=trusted, memory_budget_bytes=16 << 20, scratch=Path(scratch))
        silent = verify(store, NAME, memory_budget_bytes=16 << 20, scratch=Path(scratch))

    assert {"credentials"} == {link.key.split("/")[2] for link in verdict.broken}
    assert ((), True) == (silent.broken, any("vouched" in remark for remark in silent.remarks))


def test_receipt_that_the_aggregator_did_not_sign_is_found(store: MemoryStore) -> None:
    """A receipt that says all the right things is forged without the aggregator's signature."""
    forged = replace(receipt_of("a", 1), signature=bytes(64))

    assert ["one that it did not"] == [link.found for link in verdict_of(store, receipts=(forged,)).broken]


def test_forged_roster_is_found(store: MemoryStore) -> None:
    """A roster that was written anew is not the one that the manifest names."""
    change(store, keys.roster(NAME, 1), reason="because I say so")

    assert verdict_of(store).broken[0].key == keys.projector(NAME, 1)


@pytest.mark.parametrize(
    ("change_entries", "what"),
    [
        (lambda entries: entries[::-1], "not each contribution once, in order"),
        (lambda entries: [*entries, entries[-1]], "not each contribution once, in order"),
        (lambda entries: entries[:1], "not abandoned only without its quorum"),
        (lambda entries: [[silo, digest, 1] for silo, digest, _ in entries], "not contributions to rounds 2 to 2"),
    ],
)
def test_roster_that_no_cut_can_fix_is_found(
    store: MemoryStore, change_entries: Callable[[list[list[object]]], list[list[object]]], what: str
) -> None:
    """A roster out of order, with somebody twice, below the quorum or of other rounds is named, and why."""
    key = keys.roster(NAME, 2)
    change(store, key, entries=change_entries(fields_of(store.get(key))["entries"]))

    first = verdict_of(store).broken[0]
    assert key == first.key
    assert what in first.found


def test_delta_above_the_limit_is_found(store: MemoryStore) -> None:
    """A delta that admission must refuse is named, even where every digest fits."""
    toml = fields_of(store.get(keys.federation_file(NAME)))["toml"]
    change(store, keys.federation_file(NAME), toml=toml + "admission.max_l2_norm = 0.0001\n")

    first = verdict_of(store).broken[0]
    assert keys.contribution(NAME, 1, "a") == first.key
    assert "limit is 0.0001" in first.found


def test_changed_refusal_breaks_the_chain_behind_it(store: MemoryStore) -> None:
    """A refusal rewritten and sealed anew no longer has the digest that the next one carries."""
    change(store, keys.refusal(NAME, 1, "c", sequence=0), at="2026-01-01T00:00:00.000000+00:00")

    assert [keys.refusal(NAME, 1, "c", sequence=1)] == [link.key for link in verdict_of(store).broken]


def test_record_of_another_contribution_is_found(store: MemoryStore) -> None:
    """A record of an admission that says other than the contribution which stands is named."""
    change(store, keys.admission(NAME, 1, "a"), at="2026-01-01T00:00:00.000000+00:00")

    assert [keys.admission(NAME, 1, "a")] == [link.key for link in verdict_of(store).broken]


def test_stray_object_is_no_broken_link(store: MemoryStore) -> None:
    """An object that is none of a federation's is told, and breaks nothing."""
    store.put(f"federations/{NAME}/notes.txt", b"do not forget")

    verdict = verdict_of(store)
    assert ((), 1) == (verdict.broken, len(verdict.remarks))
    assert "notes.txt is none of a federation's objects" in verdict.remarks[0]


def test_receipts_are_compared(store: MemoryStore) -> None:
    """A receipt for what is there and counted holds; one of the open round will."""
    verdict = verdict_of(store, receipts=(receipt_of("a", 1), receipt_of("b", 3)))

    assert ((), 2) == (verdict.broken, verdict.num_receipts)
    assert "is not cut yet" in verdict.remarks[0]


@pytest.mark.parametrize(
    ("receipt", "key", "meaning"),
    [
        (replace(receipt_of("a", 1), num_examples=7), keys.contribution(NAME, 1, "a"), "says otherwise"),
        (replace(receipt_of("a", 1), payload_digest=bytes(32)), keys.contribution(NAME, 1, "a"), "says otherwise"),
        (replace(receipt_of("a", 1), silo="e"), keys.contribution(NAME, 1, "e"), "is lost"),
        (receipt_of("c", 2), keys.roster(NAME, 2), "did not count it"),
        (replace(receipt_of("a", 1), federation="other"), keys.federation_file(NAME), "of another federation"),
        (replace(receipt_of("a", 1), silo="../a"), keys.federation_file(NAME), "of another federation"),
    ],
)
def test_receipt_that_does_not_hold_is_named(
    store: MemoryStore,
    receipt: Any,
    key: str,
    meaning: str,  # Any: made of another module's value
) -> None:
    """A receipt of what is not there, is other, or was never counted names what contradicts it."""
    first = verdict_of(store, receipts=(receipt,)).broken[0]

    assert key == first.key
    assert meaning in first.meaning


def test_damaged_late_delta_is_found(store: MemoryStore) -> None:
    """Bytes that no roster counts are compared with their names as well, while they are there."""
    (key, *_) = of("uploads/2/c/")
    store.put(key, b"else")

    assert key == verdict_of(store).broken[0].key


def test_verifying_writes_nothing(store: MemoryStore) -> None:
    """After verifying, the store holds what it held."""
    verdict_of(store)

    assert objects() == {entry.key: store.get(entry.key) for entry in store.list("")}


def test_contribution_under_way_is_no_broken_link() -> None:
    """Staged bytes of a push that goes on, and a contribution not yet on record, are no contradiction."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    staged(ledger, "a")
    contribute(ledger, "b")

    assert ((), 0) == (verdict_of(store).broken, verdict_of(store).latest)
