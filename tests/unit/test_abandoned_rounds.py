"""Rounds that end without their quorum: nothing is lost, nothing is aggregated, and everybody can see it."""

import hashlib
from pathlib import Path

import pytest

from aggregator.advance import Paused, Published, Waiting, counted, cut, round_of, view_of
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing, Roster
from aggregator.stores.memory import MemoryStore
from isthmus.errors import DeltaNotFinite, FederationInvalid, RoundClosed
from isthmus.federation import FederationState, parse_federation
from tests.ledgers import NAME, after, contribute, definition, found, step
from tests.rosters import TINY, run_round, values

ABANDONING = definition(participation='without_quorum = "abandon"')


@pytest.fixture
def ledger() -> Ledger:
    """A ledger with one federation of silos a, b, c, a quorum of two, and rounds that are abandoned after 60 s."""
    ledger = Ledger(MemoryStore())
    found(ledger, ABANDONING)
    return ledger


def abandoned(ledger: Ledger, scratch: Path, *, now: float = 60) -> Published:
    """The open round, abandoned."""
    outcome = step(ledger, scratch, now=after(now))
    assert isinstance(outcome, Published)
    assert outcome.roster.abandoned
    return outcome


def test_round_without_its_quorum_ends_with_the_projector_before_it(ledger: Ledger, tmp_path: Path) -> None:
    """Projector n of an abandoned round has the bytes of projector n-1, is flagged, and names what was received."""
    contribution = contribute(ledger, "a")
    receipt = counted(ledger, contribution)

    manifest = abandoned(ledger, tmp_path).manifest

    base = ledger.manifest(NAME, 0)
    assert (base.digest, base.digest, True, "", ("a",)) == (
        manifest.digest,
        manifest.parent_digest,
        manifest.abandoned,
        manifest.rule,
        manifest.silos,
    )
    assert (receipt, [contribution]) == (
        counted(ledger, contribution),
        ledger.roster_contributions(ledger.roster(NAME, 1) or pytest.fail("no roster")),
    )


def test_abandoned_round_hands_the_optimizers_state_on(ledger: Ledger, tmp_path: Path) -> None:
    """The round after an abandoned one starts from the projector and the optimizer's state before it."""
    for silo in "ab":
        contribute(ledger, silo)
    step(ledger, tmp_path, now=after(60))
    before = ledger.manifest(NAME, 1)
    after_it = abandoned(ledger, tmp_path, now=120).manifest
    last = {silo: contribute(ledger, silo, round_number=3) for silo in "ab"}
    outcome = step(ledger, tmp_path, now=after(999))
    expected = run_round(
        [values(f"{NAME}-3-{silo}", TINY.num_elements, scale=0.1) for silo in "ab"],
        base=ledger.read_blob(NAME, before.digest, start=0, size=before.size_bytes),
        state=ledger.read_blob(NAME, before.optimizer_state_digest, start=0, size=before.optimizer_state_size_bytes),
        num_examples=[last[silo].header.num_examples for silo in "ab"],
        optimizer=ledger.federation(NAME).federation.strategy.server_optimizer,
    )

    assert isinstance(outcome, Published)
    assert (before.optimizer_state_digest, hashlib.sha256(expected.projector).digest()) == (
        after_it.optimizer_state_digest,
        outcome.manifest.digest,
    )


def test_silo_that_comes_before_the_listing_saves_the_round(ledger: Ledger, tmp_path: Path) -> None:
    """The listing behind the marker decides: a round about to be abandoned is cut when its quorum came in between."""
    contribute(ledger, "a")
    ledger.mark_closing(NAME, Closing(1, "its time was up", after(60), ("b", "c")))
    contribute(ledger, "b")

    outcome = step(ledger, tmp_path, now=after(61))

    assert isinstance(outcome, Published)
    assert (False, "Round 1 was cut with 2 contributions because its time was up, without c.") == (
        outcome.roster.abandoned,
        outcome.roster.reason,
    )


def test_silo_that_comes_after_the_roster_of_an_abandoned_round_is_told(ledger: Ledger, tmp_path: Path) -> None:
    """Too late for an abandoned round is too late, as for any other."""
    abandoned(ledger, tmp_path)

    with pytest.raises(RoundClosed):
        counted(ledger, contribute(ledger, "b"))


def test_abandoned_roster_reads_back_as_it_was_fixed(ledger: Ledger) -> None:
    """The flag is part of the document that every replica follows."""
    roster = cut(ledger, NAME, ledger.mark_closing(NAME, Closing(1, "its time was up", after(60))))

    assert (True, roster, roster.digest) == (
        roster.abandoned,
        Roster.from_json(roster.to_json()),
        Roster.from_json(roster.to_json()).digest,
    )


def test_two_replicas_abandon_a_round_alike(ledger: Ledger, tmp_path: Path) -> None:
    """A replica that died in an abandoned round's publication is finished by another, to the same manifest."""
    contribute(ledger, "a")

    def die(point: str) -> None:
        if point == "blobs":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        step(ledger, tmp_path, now=after(60), at=die)
    first = abandoned(ledger, tmp_path, now=500)

    assert (after(60), ["a"]) == (first.manifest.cut_at, list(first.roster.silos))


def test_rounds_are_not_used_up_while_too_few_silos_are_enrolled(ledger: Ledger, tmp_path: Path) -> None:
    """A federation whose silos were never invited, or were revoked, waits for its operator."""
    for silo in "bc":
        ledger.revoke(NAME, silo)

    outcome = step(ledger, tmp_path, now=after(9999))

    assert isinstance(outcome, Waiting)
    assert (True, None, 1) == (outcome.overdue, outcome.until, round_of(ledger, NAME))


def test_extended_round_is_cut_when_the_quorum_comes(tmp_path: Path) -> None:
    """By default a deadline without the quorum is told, and the round goes on."""
    ledger = Ledger(MemoryStore())
    found(ledger)
    contribute(ledger, "a")
    outcome = step(ledger, tmp_path, now=after(60))
    contribute(ledger, "b")

    assert isinstance(outcome, Waiting)
    assert (True, Published) == (outcome.overdue, type(step(ledger, tmp_path, now=after(61))))


def test_pause_keeps_a_round_from_being_abandoned(ledger: Ledger, tmp_path: Path) -> None:
    """A paused round is not abandoned however late it is, and its time begins anew when it is resumed."""
    ledger.set_state(NAME, FederationState.PAUSED, reason="night", now=after(30))
    outcomes = [step(ledger, tmp_path, now=after(9999))]
    ledger.set_state(NAME, FederationState.RUNNING, reason="morning", now=after(10_000))
    outcomes += [step(ledger, tmp_path, now=after(seconds)) for seconds in (10_001, 10_059)]

    assert [Paused, Waiting, Waiting] == [type(outcome) for outcome in outcomes]
    assert abandoned(ledger, tmp_path, now=10_060).manifest.cut_at == after(10_060)


def test_repeated_resume_does_not_extend_the_round(ledger: Ledger) -> None:
    """Resuming what runs already is no news."""
    for seconds in (10, 50):
        ledger.set_state(NAME, FederationState.RUNNING, reason="", now=after(seconds))

    assert after(0) == view_of(ledger, NAME, 1, listed=()).starts_at


@pytest.mark.parametrize("state", [FederationState.PAUSED, FederationState.FINISHED])
def test_abandoning_that_began_is_brought_to_its_end(ledger: Ledger, tmp_path: Path, state: FederationState) -> None:
    """The operator's pause or end comes behind a marker that stands, for an abandoned round as for any other."""
    ledger.mark_closing(NAME, Closing(1, "its time was up", after(60)))
    ledger.set_state(NAME, state, reason="test", now=after(61))

    abandoned(ledger, tmp_path, now=62)


def test_refused_delta_is_an_answer_and_a_late_one_is_not(ledger: Ledger, tmp_path: Path) -> None:
    """Nobody waits for a silo whose delta was refused; one whose delta of an earlier round came late is waited for."""
    for silo in "ab":
        contribute(ledger, silo)
    ledger.record_refusal(NAME, 1, "c", refusal=RoundClosed("Round 0 is over."), now=after(1))
    late = step(ledger, tmp_path, now=after(2))
    ledger.record_refusal(NAME, 1, "c", refusal=DeltaNotFinite("NaN in linear_1.bias."), now=after(3))
    refused = step(ledger, tmp_path, now=after(4))

    assert isinstance(late, Waiting)
    assert isinstance(refused, Published)
    assert (
        "Round 1 was cut with 2 contributions because every other active silo's delta was refused, without c."
        == refused.roster.reason
    )


@pytest.mark.parametrize(
    ("participation", "word"),
    [
        ('max_staleness = 2, without_quorum = "abandon"', "without_quorum"),
        ("max_staleness = 2", "silos.min"),
        ("max_staleness = 101", "max_staleness"),
        ('without_quorum = "later"', "without_quorum"),
    ],
)
def test_policies_that_make_no_sense_are_refused(participation: str, word: str) -> None:
    """A buffer has one size and fills however long it takes; the words of a policy are those documented."""
    most = 2 if "abandon" in participation else 8

    with pytest.raises(FederationInvalid, match=word):
        parse_federation(definition(participation=participation, most=most))


def test_deltas_of_an_abandoned_round_are_not_read(tmp_path: Path) -> None:
    """A round is abandoned whatever became of the bytes it received; their documents stay in its roster."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger, ABANDONING)
    for segment in contribute(ledger, "a").segments:
        store.delete(segment.key)

    assert ("a",) == abandoned(ledger, tmp_path).roster.silos
