"""`isthmus verify` on rounds of every sort: half cut, buffered, abandoned, without their deltas, within a tolerance."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from aggregator.advance import POINTS, Published
from aggregator.blocks import CombinedBlock, RosterBlocks
from aggregator.housekeeping import tidy
from aggregator.ledger import Ledger, keys
from aggregator.ledger.canonical import fields_of
from aggregator.ledger.documents import Contribution, Upload, manifest_to_json
from aggregator.options import NoOptions
from aggregator.publication import inputs_of
from aggregator.rules import MATRIX_RULES, RULES, RuleEntry, mean
from aggregator.stores.memory import MemoryStore
from isthmus.chunks import SEGMENT_BYTES
from isthmus.contribution import ContributionHeader, Encoding, push_id
from isthmus.federation import parse_federation
from isthmus.payload import PREFIX_BYTES
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.ledgers import (
    NAME,
    START,
    after,
    contribute,
    credential,
    definition,
    enrol,
    found,
    signature,
    stage,
    step,
)
from tests.rosters import payload_bytes
from tests.verifying import change, objects, of_store, sealed, store_with, verdict_of

RULE_TOLERANCE = MATRIX_RULES["fed_cmp"].tolerance


@pytest.fixture
def store() -> MemoryStore:
    """A store with every kind of object; see `tests.verifying.populate`."""
    return store_with(objects())


@pytest.fixture
def buffered(tmp_path: Path) -> MemoryStore:
    """Three rounds in buffered mode, cut at every second contribution; each but the first counts a stale one."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger, definition(quorum=2, most=2).replace("participation = {", "participation = { max_staleness = 2,"))
    for pushes in ([("a", 1), ("b", 1)], [("c", 1), ("a", 2)], [("b", 2), ("b", 3)]):
        for silo, number in pushes:
            ledger.record_admission(contribute(ledger, silo, round_number=number))
        assert isinstance(step(ledger, tmp_path), Published)
    return store


def test_buffered_rounds_hold(buffered: MemoryStore) -> None:
    """Rounds that count deltas of earlier ones are recomputed, and receipts name the round that counted them."""
    late = Ledger(buffered).contribution(NAME, 1, "c")
    assert late is not None
    in_time, counted = (
        verdict_of(buffered, receipts=(sealed(replace(late.receipt, counted_in=number)),)) for number in (1, 2)
    )

    assert ((), (1, 2, 3)) == (counted.broken, counted.recomputed)
    assert [keys.roster(NAME, 1)] == [link.key for link in in_time.broken]


def test_delta_counted_twice_is_found(buffered: MemoryStore) -> None:
    """A contribution that a later roster names again is named at both."""
    entries = fields_of(buffered.get(keys.roster(NAME, 2)))["entries"]
    counted = fields_of(buffered.get(keys.roster(NAME, 1)))["entries"][1]
    change(buffered, keys.roster(NAME, 2), entries=[entries[0], [*counted[:2], 1], entries[1]])

    broken = [link for link in verdict_of(buffered).broken if "no contribution that another roster" in link.expected]
    assert [keys.roster(NAME, 1), keys.roster(NAME, 2)] == [link.key for link in broken]


def test_abandoned_round_holds(tmp_path: Path) -> None:
    """A round without its quorum has the projector of the one before, and what came to it is checked all the same."""
    store = MemoryStore()
    ledger = Ledger(store)
    toml = definition(quorum=2).replace("participation = {", 'participation = { without_quorum = "abandon",')
    found(ledger, toml)
    contribute(ledger, "a")
    assert isinstance(step(ledger, tmp_path, now=after(100)), Published)
    verdict = verdict_of(store)
    key = next(key for key in of_store(store, "uploads/1/a/"))
    store.put(key, b"else")

    assert (True, (), (1,)) == (ledger.manifest(NAME, 1).abandoned, verdict.broken, verdict.recomputed)
    assert key == verdict_of(store).broken[0].key


@pytest.mark.parametrize("point", POINTS)
def test_store_of_a_replica_that_died_holds(tmp_path: Path, point: str) -> None:
    """Wherever a replica died while it cut a round, nothing is called broken, and neither after the repair."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    for silo in "abc":
        contribute(ledger, silo)  # whose committers died before they recorded it

    class Died(Exception):
        pass

    def die(reached: str) -> None:
        if reached == point:
            raise Died

    with pytest.raises(Died):
        step(ledger, tmp_path, at=die)
    before = verdict_of(store)
    step(ledger, tmp_path)

    assert ((), ()) == (before.broken, verdict_of(store).broken)
    assert (1,) == verdict_of(store).recomputed


def test_removed_deltas_are_told_and_break_nothing(store: MemoryStore) -> None:
    """A round whose deltas retention removed is not recomputable, as its record says; its digests stand."""
    for _ in tidy(Ledger(store), NAME, now=START + timedelta(days=30, seconds=150), by="a test"):
        pass

    verdict = verdict_of(store)
    assert ([], (2,), ()) == (of_store(store, "uploads/1/"), verdict.recomputed, verdict.broken)
    assert (
        "Round 1 is not recomputable: its deltas were removed on 2026-03-31 by a test; digests stand."
        in verdict.remarks
    )


def test_documents_of_removed_deltas_are_still_compared(store: MemoryStore) -> None:
    """Without deltas a manifest is still compared with what documents say."""
    for _ in tidy(Ledger(store), NAME, now=START + timedelta(days=99), by="a test"):
        pass
    change(store, keys.projector(NAME, 1), num_examples=1)

    assert keys.projector(NAME, 1) in {link.key for link in verdict_of(store).broken}


def test_rounds_with_pre_steps_hold(tmp_path: Path) -> None:
    """Rounds that were shuffled, clipped, mixed and capped are recomputed bit for bit; their manifests name every step.

    What shuffles follows from the deltas of the round: another round of the same silos has other buckets.
    """
    store = MemoryStore()
    ledger = Ledger(store)
    steps = ", ".join(f'{{ name = "{name}" }}' for name in ("norm_clip", "bucketing", "nnm", "weight_cap"))
    toml = definition(quorum=10, most=10).replace('name = "mean"', 'name = "multi_krum"')
    found(ledger, f"{toml}strategy.pre_steps = [{steps}]\n", silos=tuple("abcdefghij"))
    seeds = set()
    for number in (1, 2):
        counted = [contribute(ledger, silo, round_number=number) for silo in "abcdefghij"]
        for one in counted:
            ledger.record_admission(one)
        base, record = ledger.manifest(NAME, number - 1), ledger.federation(NAME)
        seeds.add(inputs_of(ledger, record, base, contributions=counted).seed)
        assert isinstance(step(ledger, tmp_path), Published)

    assert ((), (1, 2)) == ((verdict := verdict_of(store)).broken, verdict.recomputed)
    assert "norm_clip+bucketing+nnm+weight_cap+multi_krum" == ledger.manifest(NAME, 1).rule
    assert len(seeds) == 2
    change(store, keys.projector(NAME, 2), rule="multi_krum")
    assert keys.projector(NAME, 2) in {link.key for link in verdict_of(store).broken}


def wobbling(step: float) -> RuleEntry:
    """The mean, off by a share that is another on every machine, as linear algebra is."""

    def rule(roster: RosterBlocks) -> Iterator[CombinedBlock]:
        for block in mean.build(NoOptions())(roster):
            yield replace(block, values=(block.values * np.float32(1 + step)).astype(np.float32))

    return RuleEntry(NoOptions, lambda options: rule, mean.least_silos, tolerance=1e-3)


@pytest.mark.parametrize(("share", "holds"), [(1e-5, True), (0.5, False)])
def test_tolerance_of_a_rule_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, holds: bool
) -> None:
    """A rule that declares a tolerance is compared within it, the manifest says so, and more is a broken link."""
    store = MemoryStore()
    ledger = Ledger(store)
    monkeypatch.setitem(RULES, "wobbling", wobbling(0))
    found(ledger, definition().replace('name = "mean"', 'name = "wobbling"'))
    for number in (1, 2):
        for silo in "abc":
            ledger.record_admission(contribute(ledger, silo, round_number=number))
        assert isinstance(step(ledger, tmp_path), Published)
    monkeypatch.setitem(RULES, "wobbling", wobbling(share))

    verdict = verdict_of(store)
    assert 1e-3 == ledger.manifest(NAME, 1).tolerance
    assert (holds, (1, 2)) == (not verdict.broken, verdict.recomputed)
    assert holds == any("within" in remark and "declares 0.001" in remark for remark in verdict.remarks)


@pytest.mark.parametrize("forged", [False, True])
def test_rounds_by_fed_cmp_hold(tmp_path: Path, forged: bool) -> None:
    """A rule that sees matrices and keeps tensors is recomputed from these; a state that was changed is found."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger, definition().replace('name = "mean"', 'name = "fed_cmp"'))
    for number in (1, 2):
        for silo in "abc":
            ledger.record_admission(contribute(ledger, silo, round_number=number))
        assert isinstance(step(ledger, tmp_path), Published)
    manifest = ledger.manifest(NAME, 2)
    if forged:
        state = store.get(keys.blob(NAME, manifest.optimizer_state_digest))
        other = state[:-4] + np.float32(0.5).tobytes()
        digest = hashlib.sha256(other).digest()
        store.put(keys.blob(NAME, digest), other)
        store.put(keys.projector(NAME, 2), manifest_to_json(replace(manifest, optimizer_state_digest=digest)))

    verdict = verdict_of(store)

    assert RULE_TOLERANCE == manifest.tolerance
    assert (forged, (1, 2)) == (bool(verdict.broken), verdict.recomputed)


def test_projector_of_other_tensors_is_beyond_any_tolerance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a tolerance is declared, a blob that is no such projector is still found."""
    store = MemoryStore()
    ledger = Ledger(store)
    monkeypatch.setitem(RULES, "wobbling", wobbling(0))
    found(ledger, definition(quorum=1).replace('name = "mean"', 'name = "wobbling"'))
    ledger.record_admission(contribute(ledger, "a"))
    step(ledger, tmp_path, now=after(100))
    content = store.get(keys.blob(NAME, ledger.manifest(NAME, 1).digest))
    other = content[:PREFIX_BYTES] + content[PREFIX_BYTES:].replace(b"linear_1.bias", b"linear_1.ways")
    digest = hashlib.sha256(other).digest()
    store.put(keys.blob(NAME, digest), other)
    store.put(keys.projector(NAME, 1), manifest_to_json(replace(ledger.manifest(NAME, 1), digest=digest)))

    assert keys.projector(NAME, 1) == verdict_of(store).broken[0].key


def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    """Deltas and projectors larger than the budget are verified within it, and a few pieces of a file besides."""
    spec = ProjectorSpec((TensorSpec("weight", "F32", (12 << 20,)),))
    payload = payload_bytes(np.zeros(spec.num_elements, np.float32), spec)
    store = MemoryStore()
    ledger = Ledger(store)
    toml = definition(quorum=1, most=1) + "admission.allow_zero = true"
    ledger.create_federation(toml, parse_federation(toml), spec, projector=payload, now=START)
    enrol(ledger, "a")
    digest = hashlib.sha256(payload).digest()
    header = ContributionHeader(
        NAME, 1, digest, spec.fingerprint, digest, len(payload), 1, Encoding.FP32, nonce=bytes(16)
    )
    header = replace(header, signature=signature(header, silo="a"))
    upload = Upload(NAME, 1, "a", push_id(NAME, 1, silo="a", payload_digest=digest))
    segments = [
        stage(ledger, upload, payload, start=start, stop=start + SEGMENT_BYTES)
        for start in range(0, len(payload), SEGMENT_BYTES)
    ]
    start = len(payload) - 4 * spec.num_elements
    ledger.commit_contribution(Contribution("a", header, tuple(segments), start, 0.0, after(1), credential("a")))
    step(ledger, tmp_path)

    tracemalloc.start()
    verdict = verdict_of(store)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert ((1,), ()) == (verdict.recomputed, verdict.broken)
    assert peak < (16 << 20) + 3 * SEGMENT_BYTES < len(payload)
