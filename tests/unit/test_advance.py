"""One step of a federation, over a store in memory: what it decides, publishes and leaves alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.advance import (
    POINTS,
    Finished,
    Paused,
    Published,
    Waiting,
    counted,
    cut,
    round_of,
    state_of,
)
from aggregator.ledger import Ledger, keys
from aggregator.ledger.canonical import canonical, fields_of
from aggregator.ledger.documents import Closing, RosterEntry, manifest_to_json
from aggregator.publication import mean_metrics
from aggregator.stores.memory import MemoryStore
from isthmus.errors import DeltaNotFinite, InvariantBroken, RoundClosed, ScratchUnavailable
from isthmus.federation import FederationState
from tests.ledgers import NAME, after, contribute, definition, found, staged, step
from tests.rosters import TINY, payload_bytes, run_round, values


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    """A ledger with one federation of silos a, b, c and a quorum of two."""
    ledger = Ledger(store)
    found(ledger)
    return ledger


def test_round_waits_for_its_quorum(ledger: Ledger, tmp_path: Path) -> None:
    """Below the quorum nothing is written, and the reason names who is waited for and who was refused."""
    contribute(ledger, "a")
    ledger.record_refusal(NAME, 1, "c", refusal=DeltaNotFinite("too wild"), now=after(1))

    outcome = step(ledger, tmp_path, now=after(5))

    there = "Round 1 has 1 contribution of the 2 that its quorum needs"
    reason = f"{there}; it waits for any 1 of b and c (last push refused: c)."
    assert (Waiting(1, reason, None), None, 1) == (outcome, ledger.closing(NAME, 1), round_of(ledger, NAME))


def test_cut_follows_the_order_of_the_design(ledger: Ledger, store: MemoryStore, tmp_path: Path) -> None:
    """Closing marker, listing, roster, arithmetic, blobs, manifest: each is there only once the one before is."""
    for silo in "abc":
        contribute(ledger, silo)
    seen = []

    def look(point: str) -> None:
        written = [ledger.closing(NAME, 1), ledger.roster(NAME, 1), Ledger(store).latest_number(NAME) or None]
        seen.append((point, [thing is not None for thing in written]))

    step(ledger, tmp_path, at=look)

    closed, cut_, published = [True, False, False], [True, True, False], [True, True, True]
    states = [[False] * 3, closed, closed, cut_, cut_, cut_, published]
    assert list(zip(POINTS, states, strict=True)) == seen


def test_projector_is_what_the_arithmetic_gives(ledger: Ledger, tmp_path: Path) -> None:
    """Two rounds publish the bytes, the state and the manifest that follow from base, roster and strategy alone."""
    strategy = ledger.federation(NAME).federation.strategy
    base, state = payload_bytes(values("initial", TINY.num_elements), TINY), b""
    for number in (1, 2):
        by_silo = {silo: contribute(ledger, silo, round_number=number) for silo in "cab"}
        outcome = step(ledger, tmp_path, now=after(number))
        expected = run_round(
            [values(f"{NAME}-{number}-{silo}", TINY.num_elements, scale=0.1) for silo in "abc"],
            base=base,
            state=state,
            num_examples=[by_silo[silo].header.num_examples for silo in "abc"],
            rule=strategy.rule,
            optimizer=strategy.server_optimizer,
        )

        assert isinstance(outcome, Published)
        manifest = outcome.manifest
        assert (expected.projector, expected.state, number, ("a", "b", "c"), after(number)) == (
            ledger.read_blob(NAME, manifest.digest, start=0, size=manifest.size_bytes),
            ledger.read_blob(NAME, manifest.optimizer_state_digest, start=0, size=manifest.optimizer_state_size_bytes),
            manifest.number,
            manifest.silos,
            manifest.cut_at,
        )
        base, state = expected.projector, expected.state

    first, second = (ledger.manifest(NAME, number) for number in (1, 2))
    roster = ledger.roster(NAME, 2)
    assert (first.digest, roster.digest if roster else b"") == (second.parent_digest, second.roster_digest)


def test_step_leaves_no_file_behind(ledger: Ledger, tmp_path: Path) -> None:
    """The scratch folder is empty after a round, and what a dead process left there is gone."""
    (tmp_path / "aside-1-dead").touch()
    for silo in "ab":
        contribute(ledger, silo)

    assert Published is type(step(ledger, tmp_path, now=after(61)))
    assert [] == list(tmp_path.iterdir())


def test_federation_ends_after_its_rounds(ledger: Ledger, tmp_path: Path) -> None:
    """After the last round nothing more happens, and the federation is finished."""
    for number in (1, 2, 3):
        assert FederationState.RUNNING is state_of(ledger, NAME)
        for silo in "abc":
            contribute(ledger, silo, round_number=number)
        step(ledger, tmp_path)

    assert (Finished(4), FederationState.FINISHED) == (step(ledger, tmp_path), state_of(ledger, NAME))


@pytest.mark.parametrize(
    ("state", "outcome"), [(FederationState.PAUSED, Paused(1)), (FederationState.FINISHED, Finished(1))]
)
def test_stopped_federation_cuts_nothing(
    ledger: Ledger, tmp_path: Path, state: FederationState, outcome: Paused | Finished
) -> None:
    """A paused or finished federation is not cut, however due it is."""
    for silo in "abc":
        contribute(ledger, silo)
    ledger.set_state(NAME, state, reason="test", now=after(1))

    assert (outcome, None) == (step(ledger, tmp_path, now=after(999)), ledger.closing(NAME, 1))


@pytest.mark.parametrize("state", [FederationState.PAUSED, FederationState.FINISHED])
def test_cut_that_began_is_brought_to_its_end(ledger: Ledger, tmp_path: Path, state: FederationState) -> None:
    """Silos were told that they count: a pause after the closing marker does not take that back."""
    for silo in "ab":
        contribute(ledger, silo)
    ledger.mark_closing(NAME, Closing(1, "why", after(3)))
    ledger.set_state(NAME, state, reason="test", now=after(4))

    outcome = step(ledger, tmp_path, now=after(5))

    assert isinstance(outcome, Published)
    reason = "Round 1 was cut with 2 contributions because why."
    assert (("a", "b"), reason, after(3)) == (outcome.roster.silos, outcome.roster.reason, outcome.manifest.cut_at)


def test_contribution_before_the_marker_counts(ledger: Ledger) -> None:
    """Without a closing marker after the commit a contribution is receipted at once."""
    contribution = contribute(ledger, "a")

    assert (contribution.receipt, None) == (counted(ledger, contribution), ledger.roster(NAME, 1))


def test_contribution_between_marker_and_roster_is_answered_by_the_roster(ledger: Ledger) -> None:
    """Who commits after the marker fixes the roster itself, is in it, and is receipted: nobody waits for the dead."""
    contribute(ledger, "a")
    ledger.mark_closing(NAME, Closing(1, "why", after(3)))
    late = contribute(ledger, "b")

    receipt = counted(ledger, late)

    roster = ledger.roster(NAME, 1)
    assert (late.receipt, ("a", "b")) == (receipt, roster.silos if roster else ())


def test_contribution_after_the_roster_is_refused_and_stays_out(ledger: Ledger, tmp_path: Path) -> None:
    """Who commits after the roster is told to go on with the next round, before and after publication, always."""
    contribute(ledger, "a")
    closing = ledger.mark_closing(NAME, Closing(1, "why", after(3)))
    cut(ledger, NAME, closing)
    late = contribute(ledger, "b")

    for _ in range(2):
        with pytest.raises(RoundClosed, match="silo b") as caught:
            counted(ledger, late)
        assert "2" == caught.value.details["currentRound"]
        step(ledger, tmp_path)

    assert ("a",) == ledger.manifest(NAME, 1).silos


def test_receipt_of_a_past_round_stays_the_same(ledger: Ledger, tmp_path: Path) -> None:
    """Asking again for a receipt of a round that is long published gives the identical one."""
    contribution = contribute(ledger, "a")
    contribute(ledger, "b")
    receipt = counted(ledger, contribution)
    step(ledger, tmp_path, now=after(61))

    again = ledger.commit_contribution(replace(staged(ledger, "a"), admitted_at=after(500)))

    assert receipt == counted(ledger, again)


def test_publication_sweeps_what_nothing_refers_to(ledger: Ledger, store: MemoryStore, tmp_path: Path) -> None:
    """Segments of refused and abandoned pushes go with their round; those of the roster and the next round stay."""
    kept = [contribute(ledger, silo) for silo in "ab"]
    ledger.drop_upload(staged(ledger, "c", variant="refused").upload)
    staged(ledger, "c", variant="abandoned")

    step(ledger, tmp_path, now=after(61))
    coming = staged(ledger, "c", round_number=2)

    left = [entry.key for number in (1, 2) for entry in store.list(keys.uploads(NAME, number))]
    assert sorted(segment.key for one in [*kept, coming] for segment in one.segments) == sorted(left)


def test_open_round_is_never_swept(ledger: Ledger) -> None:
    """Sweeping a round that is not published does nothing, cut or not."""
    contribution = contribute(ledger, "a")
    staged(ledger, "b")
    swept = [ledger.sweep_uploads(NAME, 1)]
    cut(ledger, NAME, ledger.mark_closing(NAME, Closing(1, "why", after(3))))
    swept.append(ledger.sweep_uploads(NAME, 1))

    assert ([0, 0], list(contribution.segments)) == (swept, ledger.committed_segments(contribution.upload))


def test_metrics_are_weighted_means_of_what_all_report(ledger: Ledger) -> None:
    """A metric that one silo leaves out is left out; so is one whose mean no float holds."""
    reports = [(1, {"loss": 1.0, "big": 1.7e308, "only": 1.0}), (3, {"loss": 2.0, "big": 1.7e308})]
    one = staged(ledger, "a")
    contributions = [
        replace(one, header=replace(one.header, num_examples=weight, metrics=metrics)) for weight, metrics in reports
    ]

    assert ({"big": 1.7e308, "loss": 1.75}, {}) == (mean_metrics(contributions), mean_metrics([]))


def test_replica_that_computes_otherwise_is_heard(ledger: Ledger, tmp_path: Path) -> None:
    """When another projector stands than this replica computed, that is an error and not a quiet difference."""
    for silo in "abc":
        contribute(ledger, silo)

    def forge(point: str) -> None:
        if point == "blobs":
            ledger.publish(NAME, replace(ledger.manifest(NAME, 0), number=1))

    with pytest.raises(InvariantBroken, match="stands"):
        step(ledger, tmp_path, at=forge)
    assert 2 == round_of(ledger, NAME)


def test_replica_within_a_tolerance_is_believed(store: MemoryStore, tmp_path: Path) -> None:
    """Where the rule declares a tolerance, another replica's projector of the same roster stands, without an error."""
    ledger = Ledger(store)
    found(ledger, definition().replace('name = "mean"', 'name = "fed_cmp"'))
    for silo in "abc":
        contribute(ledger, silo)

    def be_second(point: str) -> None:
        if point == "blobs":
            step(Ledger(store), tmp_path / "other")
            manifest = Ledger(store).manifest(NAME, 1)
            fields = fields_of(manifest_to_json(replace(manifest, digest=bytes(32))))
            store.put(keys.projector(NAME, 1), canonical(fields))

    (tmp_path / "other").mkdir()
    outcome = step(ledger, tmp_path, at=be_second)

    assert isinstance(outcome, Published)
    assert bytes(32) == Ledger(store).manifest(NAME, 1).digest


def test_lost_contribution_is_heard(ledger: Ledger, store: MemoryStore, tmp_path: Path) -> None:
    """A contribution of the roster that the store lost keeps the round from being published."""
    for silo in "abc":
        contribute(ledger, silo)

    def lose(point: str) -> None:
        if point == "roster":
            store.delete(keys.contribution(NAME, 1, "b"))

    with pytest.raises(InvariantBroken, match="silo b"):
        step(ledger, tmp_path, at=lose)


def test_scratch_folder_that_fails_is_told(ledger: Ledger, tmp_path: Path) -> None:
    """A scratch folder that is not there is told as that, and the round goes on once it is."""
    for silo in "abc":
        contribute(ledger, silo)
    scratch = tmp_path / "scratch"

    with pytest.raises(ScratchUnavailable, match="scratch"):
        step(ledger, scratch)
    scratch.mkdir()

    assert Published is type(step(ledger, scratch))


def test_roster_is_sorted_by_silo_and_names_documents(ledger: Ledger) -> None:
    """A roster lists silos in the order of their names, each with the digest of its contribution."""
    contributions = {silo: contribute(ledger, silo) for silo in "cab"}

    roster = cut(ledger, NAME, ledger.mark_closing(NAME, Closing(1, "why", after(3))))

    assert tuple(RosterEntry(silo, contributions[silo].digest) for silo in "abc") == roster.entries


def test_two_federations_do_not_meet(ledger: Ledger, tmp_path: Path) -> None:
    """A step of one federation touches nothing of another."""
    found(ledger, definition("anchor"))
    for silo in "abc":
        contribute(ledger, silo)

    step(ledger, tmp_path)

    assert (2, 1) == (round_of(ledger, NAME), round_of(ledger, "anchor"))
