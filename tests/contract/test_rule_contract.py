"""What every rule keeps, as `aggregator.blocks.Rule` numbers it; a rule in RULES is tested by being there."""

from collections.abc import Callable

import numpy as np
import pytest

from aggregator.blocks import GRAIN, Rule
from aggregator.rules import MATRIX_RULES, RULES, build_matrix_rule, build_rule, check_rule, entry_of
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice, CountRange, ParticipationPolicy
from tests.rosters import WIDE, combine, deltas, roster

NUM_SILOS = 7


@pytest.fixture(params=RULES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each rule."""
    return request.param


@pytest.fixture
def rule(name: str) -> Rule:
    """Each rule with its default options."""
    return build_rule(Choice(name=name))


def test_rule_gives_a_block_for_each_block(rule: Rule) -> None:
    """1: the combined blocks are the roster's blocks, in order, of the same tensor, start and length."""
    blocks = roster(deltas(NUM_SILOS, WIDE), spec=WIDE)

    expected = [(block.tensor, block.start, block.values.shape[1]) for block in blocks]

    assert [(block.tensor, block.start, len(block.values)) for block in rule(blocks)] == expected


def test_rule_gives_float32(rule: Rule) -> None:
    """2: combined values are float32."""
    assert combine(rule, roster(deltas(NUM_SILOS, WIDE), spec=WIDE)).dtype == np.float32


@pytest.mark.parametrize("length", [2 * GRAIN, 5 * GRAIN, 1024 * GRAIN])
def test_rule_does_not_depend_on_the_length_of_blocks(rule: Rule, length: int) -> None:
    """3: the same bits come out whatever the length of the blocks."""
    flat = deltas(NUM_SILOS, WIDE)

    expected = combine(rule, roster(flat, spec=WIDE, length=GRAIN))

    assert combine(rule, roster(flat, spec=WIDE, length=length)).tobytes() == expected.tobytes()


def test_rule_combines_one_delta_to_itself(rule: Rule) -> None:
    """4: one delta alone is combined to exactly that delta."""
    flat = deltas(1, WIDE)

    assert np.array_equal(combine(rule, roster(flat, spec=WIDE, num_examples=[12345])), flat[0])


def test_rule_combines_equal_deltas_to_that_delta(rule: Rule) -> None:
    """5: silos that agree are believed, up to rounding."""
    flat = deltas(1, WIDE) * NUM_SILOS

    np.testing.assert_allclose(combine(rule, roster(flat, spec=WIDE)), flat[0], rtol=1e-6)


def test_rule_stays_between_the_least_and_the_largest(rule: Rule) -> None:
    """6: no combined value lies outside the range of its deltas, up to rounding."""
    flat = np.stack(deltas(NUM_SILOS, WIDE))

    combined = combine(rule, roster(list(flat), spec=WIDE))

    margin = 1e-6 * np.abs(flat).max(axis=0)
    assert (combined >= flat.min(axis=0) - margin).all()
    assert (combined <= flat.max(axis=0) + margin).all()


def test_rule_scales_with_the_deltas(rule: Rule) -> None:
    """7: deltas twice as large are combined to exactly twice the delta: no hidden constant acts."""
    flat = deltas(NUM_SILOS, WIDE)

    expected = 2.0 * combine(rule, roster(flat, spec=WIDE))

    assert np.array_equal(combine(rule, roster([2.0 * one for one in flat], spec=WIDE)), expected)


def test_rule_gives_the_same_twice(rule: Rule) -> None:
    """8: a second run over the same roster gives the same bits."""
    blocks = roster(deltas(NUM_SILOS, WIDE), spec=WIDE)

    assert combine(rule, blocks).tobytes() == combine(rule, blocks).tobytes()


@pytest.mark.parametrize("chosen", [*RULES, *MATRIX_RULES])
def test_rule_accepts_the_least_number_of_silos_it_names(chosen: str) -> None:
    """A rule of either kind is accepted for rounds of as many contributions as it says it needs, and refused below."""
    least = entry_of(chosen).least_silos(entry_of(chosen).options())

    check_rule(Choice(name=chosen), ParticipationPolicy(silos=CountRange(min=least, max=100)))
    if least > 1:
        with pytest.raises(FederationInvalid, match=r"participation\.silos\.min"):
            check_rule(Choice(name=chosen), ParticipationPolicy(silos=CountRange(min=least - 1, max=100)))


@pytest.mark.parametrize("build", [build_rule, build_matrix_rule])
@pytest.mark.parametrize("chosen", [*RULES, *MATRIX_RULES])
def test_rule_refuses_an_unknown_option(chosen: str, build: Callable[[Choice], object]) -> None:
    """An option that the rule does not have is refused by name, not ignored, whichever kind was asked for."""
    with pytest.raises(FederationInvalid, match=r"strategy\.rule.*trim_fracton"):
        build(Choice.model_validate({"name": chosen, "trim_fracton": 0.1}))
