"""Which bytes were contributed before, over the ledger itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.ledger import Ledger, keys, replays
from aggregator.ledger.documents import Contribution
from aggregator.stores.memory import MemoryStore
from isthmus.contribution import ContributionHeader
from isthmus.errors import DeltaReplayed
from tests.ledgers import NAME, after, contribute, definition, found, held_out, staged, step


@pytest.fixture
def ledger() -> Ledger:
    """Federation harbour of silos a, b, c with a quorum of two."""
    ledger = Ledger(MemoryStore())
    found(ledger)
    return ledger


def commit(ledger: Ledger, contribution: Contribution) -> None:
    """Claims, then commits, as pushes do."""
    replays.claim(ledger, contribution.header, contribution.silo)
    ledger.commit_contribution(contribution)


def in_round(header: ContributionHeader, number: int) -> ContributionHeader:
    """The same payload, for another round."""
    return replace(header, round=number)


def is_replay(ledger: Ledger, header: ContributionHeader, silo: str) -> bool:
    """Whether the payload is refused; checking and claiming must agree."""
    try:
        replays.require_new(ledger, header, silo)
    except DeltaReplayed:
        with pytest.raises(DeltaReplayed):
            replays.claim(ledger, header, silo)
        return True
    replays.claim(ledger, header, silo)
    return False


def test_own_contribution_is_no_replay(ledger: Ledger) -> None:
    """The same silo and round may claim again, before and after it committed: its process may have died in between."""
    contribution = staged(ledger, "a")
    for _ in range(3):
        assert not is_replay(ledger, contribution.header, "a")
    commit(ledger, contribution)

    assert not is_replay(ledger, contribution.header, "a")
    assert 1 == len(list(ledger.store.list(keys.payload_claims(NAME))))


def test_bytes_of_another_silo_are_refused_without_its_name(ledger: Ledger) -> None:
    """What one silo has claimed in the open round no other silo brings, committed or not, and nobody is named."""
    contribution = staged(ledger, "alpha")
    replays.claim(ledger, contribution.header, "alpha")
    claimed = is_replay(ledger, contribution.header, "b")
    ledger.commit_contribution(contribution)

    with pytest.raises(DeltaReplayed) as caught:
        replays.require_new(ledger, contribution.header, "b")

    assert claimed
    assert "alpha" not in str(caught.value) + str(caught.value.details)


def test_bytes_of_an_earlier_round_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    """What a round counted is refused in the next, from its own silo and from another."""
    for silo in "ab":
        commit(ledger, staged(ledger, silo))
    step(ledger, tmp_path, now=after(100))
    again = in_round(staged(ledger, "a").header, 2)

    assert [True, True] == [is_replay(ledger, again, silo) for silo in "ac"]


def test_claim_of_a_round_that_did_not_count_it_is_void(ledger: Ledger, tmp_path: Path) -> None:
    """Bytes that came too late, or whose process died before the commit, may be brought to a later round; once."""
    late = staged(ledger, "c").header
    replays.claim(ledger, late, "c")
    for silo in "ab":
        commit(ledger, staged(ledger, silo))
    open_round = is_replay(ledger, late, "b")
    step(ledger, tmp_path, now=after(100))

    assert open_round
    assert not is_replay(ledger, in_round(late, 2), "c")
    assert is_replay(ledger, in_round(late, 2), "b")


def test_claim_for_what_the_silo_did_not_contribute_is_void(ledger: Ledger) -> None:
    """A silo that contributed other bytes in the end keeps nobody from those that it claimed before."""
    first = staged(ledger, "a", variant="first")
    replays.claim(ledger, first.header, "a")
    commit(ledger, staged(ledger, "a"))

    assert not is_replay(ledger, first.header, "b")


def test_abandoned_round_counted_nothing(tmp_path: Path) -> None:
    """What an abandoned round received may be brought again: nothing of it was aggregated."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(participation='without_quorum = "abandon"'))
    commit(ledger, staged(ledger, "a"))
    step(ledger, tmp_path, now=after(100))

    assert not is_replay(ledger, in_round(staged(ledger, "a").header, 2), "a")


def test_round_that_was_taken_back_counted_nothing(tmp_path: Path) -> None:
    """What made a projector that was taken back, and what was trained from it, may be brought again; no other bytes."""
    ledger = Ledger(MemoryStore())
    gate = "\nevaluation.gate = { min_silos = 2 }\n"
    found(ledger, definition(rounds=5, participation='without_quorum = "abandon"') + gate)
    brought = []
    for number, silos, loss in ((1, "ab", 2.0), (2, "ab", 1.0), (3, "a", 9.0), (4, "ab", 9.0)):
        made = [staged(ledger, silo, round_number=number, metrics=held_out(loss)) for silo in silos]
        for one in made:
            commit(ledger, one)
        step(ledger, tmp_path, now=after(100 * number))
        brought.append(made[0].header)
        if number == 3:  # abandoned: whether projector 2 is worse nobody said yet
            assert is_replay(ledger, in_round(brought[1], 4), "a")

    assert ledger.manifest(NAME, 4).reverted
    again = [is_replay(ledger, in_round(header, 5), "a") for header in (brought[0], brought[1], brought[3])]
    assert [True, False, False] == again


def test_stale_round_that_can_still_be_counted_is_open(tmp_path: Path) -> None:
    """In buffered mode a claim stands until the last round is over that could count it."""
    ledger = Ledger(MemoryStore())
    found(ledger, definition(quorum=2, most=2, participation="max_staleness = 1"))
    late = staged(ledger, "c").header
    replays.claim(ledger, late, "c")
    for silo in "ab":
        commit(ledger, staged(ledger, silo))
    step(ledger, tmp_path, now=after(100))
    standing = is_replay(ledger, in_round(late, 2), "c")
    for silo in "ab":
        commit(ledger, staged(ledger, silo, round_number=2))
    step(ledger, tmp_path, now=after(200))

    assert (True, False) == (standing, is_replay(ledger, in_round(late, 3), "c"))


def test_ordinary_contributions_are_new(ledger: Ledger) -> None:
    """Different bytes of different silos do not meet."""
    contribute(ledger, "a")

    assert not is_replay(ledger, staged(ledger, "b").header, "b")
