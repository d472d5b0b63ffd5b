"""What secure aggregation decides, over its real code: every order of all verbs of all actors, and every crash."""

from pathlib import Path

import pytest

from aggregator.ledger import keys
from aggregator.ledger.masking import FixedKeys, Opening
from tests.ledgers import NAME
from tests.model.explore import Explored, explore
from tests.model.masked_mutants import MASKED_MUTANTS, QUICK
from tests.model.masks import keys_scene, opening_scene
from tests.model.trace import counterexample


def documents(explored: Explored, key: str) -> list[bytes]:
    """What stood under a key in the end, in every way that there is."""
    return [content for bucket, _ in explored.ends for found, content in bucket if found == key]


def test_round_is_opened_or_given_up_and_seeds_follow_that(tmp_path: Path) -> None:
    """Whoever dies: no seed of a round that is given up is taken, the others end it, and both ends come to be."""
    explored = explore(opening_scene(tmp_path))

    assert not explored.broken, counterexample(opening_scene(tmp_path))
    decided = [Opening.from_json(document) for document in documents(explored, keys.opening(NAME, 1))]
    assert {False, True} == {one.complete for one in decided}


def test_key_roster_stands_and_a_key_is_told_to_be_late_only_if_it_is(tmp_path: Path) -> None:
    """Whoever fixes the key roster, with the last key or without: one stands, and the silo is told nothing else."""
    explored = explore(keys_scene(tmp_path))

    assert not explored.broken, counterexample(keys_scene(tmp_path))
    rosters = [FixedKeys.from_json(document).roster for document in documents(explored, keys.key_roster(NAME, 1))]
    assert {("a", "b", "c"), ("a", "b", "c", "d")} == {roster.silos for roster in rosters}


@pytest.mark.parametrize("name", QUICK)
def test_checker_finds_the_bug(name: str, tmp_path: Path) -> None:
    """A protocol that is wrong in one way is found wrong, for the reason that it is."""
    scene, symptom = MASKED_MUTANTS[name]

    assert symptom in explore(scene(tmp_path)).broken
