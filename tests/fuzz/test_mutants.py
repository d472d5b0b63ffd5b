"""The targets can fail: what is wrong in one way is found by the inputs of the default suite."""

from collections.abc import Iterable

import pytest

from tests.fuzz.mutants import MUTANTS
from tests.fuzz.targets import TARGETS, Target, corpus_of


def finding(target: Target, inputs: Iterable[bytes]) -> str:
    """What the first input that finds anything wrong says of it; "": none does."""
    for data in inputs:
        try:
            target.run(data)
        except Exception as error:
            return repr(error)
    return ""


@pytest.mark.parametrize("name", MUTANTS)
def test_target_finds_the_bug(name: str) -> None:
    """With the bug in place, an input that is kept in the tree is judged as it must not be, and it shows how."""
    mutant = MUTANTS[name]
    kept = [path.read_bytes() for path in corpus_of(mutant.target)]

    with mutant.made():
        found = finding(TARGETS[mutant.target], [*TARGETS[mutant.target].seeds(), *kept])

    assert mutant.symptom in found
    assert found
