"""The phases of a round with secure aggregation, as a pure function and over a store whose replicas race and die."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from aggregator import masking as phases
from aggregator.advance import Published, Waiting, view_of
from aggregator.ledger import Ledger, keys, masking
from aggregator.ledger.masking import Opening
from aggregator.masked_rounds import Decide, FixKeys, MaskedView, decide_masked
from aggregator.rounds import Cut, RoundView, Wait
from aggregator.stores.memory import MemoryStore
from isthmus.federation import ParticipationPolicy
from isthmus.secure_aggregation.keys import KeyOffer, Member
from isthmus.secure_aggregation.policy import SecureAggregationPolicy
from isthmus.signatures import public_key_of
from tests.ledgers import START, after, found, step
from tests.masked import secret

SILOS = ("a", "b", "c", "d")
POLICY = SecureAggregationPolicy(clip=1.0, min_silos=3, upload_seconds=50.0)
PARTICIPATION = ParticipationPolicy.model_validate(
    {"silos": {"min": 3, "max": 4}, "seconds": {"max": 60.0}, "without_quorum": "abandon"}
)
ROUND = RoundView(1, START, (), SILOS)
KEYS = MaskedView(ROUND, SILOS)
VECTORS = replace(KEYS, members=SILOS, fixed_at=START)
SEEDS = replace(VECTORS, round=replace(ROUND, contributed=SILOS), complete=True)
TOML = """
name = "harbour"
rounds = 3
encoding = "ring32"
participation = { silos = { min = 3, max = 4 }, seconds = { max = 60.0 }, without_quorum = "abandon" }
admission.max_num_examples = 1
plan.learning_rate = { initial = 0.01 }
secure_aggregation = { clip = 1.0, min_silos = 3, upload_seconds = 50.0 }
"""


def kind(view: MaskedView, seconds: float) -> object:
    """What is decided so long after the start: its kind; of a decision, which."""
    decision = decide_masked(view, PARTICIPATION, POLICY, now=after(seconds))
    return decision.complete if isinstance(decision, Decide) else type(decision)


@pytest.mark.parametrize(
    ("view", "seconds", "expected"),
    [
        (replace(KEYS, offered=("a", "b", "c")), 1, Wait),
        (replace(KEYS, offered=("a", "b", "c")), 60, FixKeys),
        (KEYS, 1, FixKeys),
        (replace(KEYS, offered=("a", "b")), 59, Wait),
        (replace(KEYS, offered=("a", "b")), 60, False),
        (VECTORS, 49, Wait),
        (VECTORS, 50, False),
        (replace(VECTORS, round=replace(ROUND, resumed_at=after(40))), 89, Wait),
        (replace(VECTORS, round=replace(ROUND, resumed_at=after(40))), 90, False),
        (replace(VECTORS, round=replace(ROUND, contributed=SILOS)), 50, True),
        (replace(VECTORS, round=replace(ROUND, contributed=("a", "b", "c"), active_silos=("a", "b", "c"))), 1, False),
        (SEEDS, 9999, Wait),
        (replace(SEEDS, revealed=("a", "b", "c")), 9999, Wait),
        (replace(SEEDS, revealed=SILOS), 1, Cut),
        (replace(VECTORS, complete=False, why=Cut("it was late")), 1, Cut),
    ],
)
def test_phases_follow_each_other(view: MaskedView, seconds: float, expected: object) -> None:
    """Keys, then vectors until their time since the last pause is up or a silo is revoked, then seeds however long."""
    assert kind(view, seconds) == expected


def offered(ledger: Ledger, silo: str) -> None:
    """Puts a silo's key in the store."""
    bare = KeyOffer("harbour", 1, b"", b"", secret(silo), 1)
    member = Member(silo, public_key_of(secret(silo)), bare.public_key, 1, b"signed")
    masking.offer(ledger.store, "harbour", 1, member=member)


def test_round_without_enough_keys_ends_without_a_change(tmp_path: Path) -> None:
    """Below the quorum of keys at the deadline the projector stays, and the manifest says why."""
    ledger = Ledger(MemoryStore())
    found(ledger, TOML, silos=SILOS)
    offered(ledger, "a")

    assert isinstance(step(ledger, tmp_path, now=after(59)), Waiting)
    outcome = step(ledger, tmp_path, now=after(60))
    assert isinstance(outcome, Published)
    assert (True, ledger.manifest("harbour", 0).digest) == (outcome.manifest.abandoned, outcome.manifest.digest)
    assert "too few keys" in outcome.manifest.remark


def test_first_word_on_the_opening_stands(tmp_path: Path) -> None:
    """A replica that gave the round up and one that saw every vector cannot both have their way: the first one has."""
    ledger = Ledger(MemoryStore())
    found(ledger, TOML, silos=SILOS)
    for silo in SILOS:
        offered(ledger, silo)
    view = view_of(ledger, "harbour", 1, listed=())
    assert isinstance(phases.step(ledger, "harbour", view, policy=POLICY, now=after(1)), Wait)
    given_up = masking.decide_opening(ledger.store, "harbour", Opening(1, False, "it took long", ("d",), after(51)))
    late = masking.decide_opening(ledger.store, "harbour", Opening(1, True, "every vector is there", (), after(52)))

    assert given_up == late
    outcome = step(ledger, tmp_path, now=after(53))
    assert isinstance(outcome, Published)
    assert outcome.manifest.abandoned
    assert "it took long, without d" in outcome.manifest.remark


def test_key_that_is_late_is_in_no_roster() -> None:
    """A key that comes after the roster was fixed changes nothing of it."""
    ledger = Ledger(MemoryStore())
    found(ledger, TOML, silos=SILOS)
    for silo in SILOS[:3]:
        offered(ledger, silo)
    view = view_of(ledger, "harbour", 1, listed=())
    phases.step(ledger, "harbour", view, policy=POLICY, now=after(61))
    before = ledger.store.get(keys.key_roster("harbour", 1))
    offered(ledger, "d")
    phases.step(ledger, "harbour", view, policy=POLICY, now=after(62))

    assert before == ledger.store.get(keys.key_roster("harbour", 1))
    fixed = masking.fixed_keys(ledger.store, "harbour", 1)
    assert fixed is not None
    assert (SILOS[:3], START + timedelta(seconds=61)) == (fixed.roster.silos, fixed.fixed_at)
