"""The short form of `make fuzz`, without atheris: all inputs that were kept, and thousands that were bent at random."""

import pytest

from tests.fuzz.mutations import bent
from tests.fuzz.targets import MAX_FILE_BYTES, MAX_FILES, TARGETS, corpus_of

SEED = 20_261_126
BENT = {"header": 1200, "stream": 300, "foreign": 3000}
"""How many; a stream's story costs most."""


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_find_nothing(name: str) -> None:
    """Every input that once brought coverage, and every one that libFuzzer began with, is judged as it must be."""
    for data in [*(path.read_bytes() for path in corpus_of(name)), *TARGETS[name].seeds()]:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_bent_inputs_find_nothing(name: str) -> None:
    """Whatever a few changes make of them, the target's promises hold."""
    target = TARGETS[name]
    inputs = [*(path.read_bytes() for path in corpus_of(name)), *target.seeds()]
    for data in bent(inputs, count=BENT[name], seed=SEED, words=target.words, max_bytes=target.max_bytes):
        try:
            target.run(data)
        except Exception as error:
            raise AssertionError(f"{name} finds something wrong with {data.hex()}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_stays_small(name: str) -> None:
    """The tree keeps at most so many inputs of a target, none longer than so much, and each one once."""
    contents = [path.read_bytes() for path in corpus_of(name)]

    assert 0 < len(contents) <= MAX_FILES
    assert max(map(len, contents)) <= MAX_FILE_BYTES
    assert len(set(contents)) == len(contents)
