"""Invariants 1 and 2 over the real code of the cut: every order of all verbs of all actors, and every crash."""

from pathlib import Path

import pytest

from aggregator.ledger import keys
from aggregator.ledger.documents import manifest_from_json
from tests.ledgers import NAME
from tests.model.cut import SHORT, Cast, cut_scene, gated_scene
from tests.model.explore import explore
from tests.model.mutants import MUTANTS
from tests.model.trace import counterexample


@pytest.mark.parametrize("cast", SHORT, ids=str)
def test_cut_keeps_its_promises_in_every_order(cast: Cast, tmp_path: Path) -> None:
    """Whatever the order and whoever dies where: receipts and refusals tell the truth, and `verify` finds all whole."""
    explored = explore(cut_scene(cast, tmp_path))

    assert not explored.broken, counterexample(cut_scene(cast, tmp_path))
    assert len(explored.ends) > 1


def test_gate_decides_alike_in_every_order(tmp_path: Path) -> None:
    """Whether a round is taken back follows from the roster that wins, whoever dies: both ends come to be, and hold."""
    explored = explore(gated_scene(tmp_path))

    assert not explored.broken, counterexample(gated_scene(tmp_path))
    documents = [content for bucket, _ in explored.ends for key, content in bucket if key == keys.projector(NAME, 2)]
    assert {False, True} == {manifest_from_json(document).reverted for document in documents}


@pytest.mark.parametrize("name", MUTANTS)
def test_checker_finds_the_bug(name: str, tmp_path: Path) -> None:
    """A protocol that is wrong in one way is found wrong, for the reason that it is."""
    mutant = MUTANTS[name]

    assert mutant.symptom in explore(mutant.scene(tmp_path)).broken


def test_counterexample_reads_as_a_story(tmp_path: Path) -> None:
    """Without the marker, the story names who listed, who then committed, the roster, the receipt and what is wrong."""
    story = counterexample(MUTANTS["the closing marker is left out"].scene(tmp_path)).splitlines()
    told = [
        ("replica 1", "list ", "rounds/1/contributions", "-> a.json"),
        ("replica 1", "put_if_absent", "rounds/1/roster.json", "-> created"),
        ("push b", "put_if_absent", "contributions/b.json", "-> created"),
        ("push b", "ends with Receipt"),
        ("wrong:", "silo b has a receipt of round 1, and its delta is counted in []"),
    ]

    assert [] == [words for words in told if not any(all(word in line for word in words) for line in story)]
    assert story[-1].startswith("wrong:")


def test_reductions_change_nothing_about_the_cut(tmp_path: Path) -> None:
    """One replica and one silo: with every reduction the same ends and the same buckets as verb by verb without any."""
    scene = cut_scene(Cast(replicas=1, silos="a"), tmp_path)
    plain, reduced = explore(scene, merge=False, exchange=False, reduce=False), explore(scene)

    assert (plain.ends, plain.num_buckets) == (reduced.ends, reduced.num_buckets)
    assert reduced.num_states < plain.num_states
