"""What every pre-step keeps, as `aggregator.blocks.PreStep` numbers it; one in PRE_STEPS is tested by being there."""

from dataclasses import replace

import numpy as np
import pytest

from aggregator.blocks import GRAIN, PreStep
from aggregator.gram import gram
from aggregator.pre_steps import PRE_STEPS, build_pre_steps, deltas_left
from aggregator.rules import RULES, build_rule
from isthmus.errors import FederationInvalid
from isthmus.federation import Choice
from tests.rosters import WIDE, combine, deltas, roster, rows

NUM_SILOS = 7


@pytest.fixture(params=PRE_STEPS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each pre-step."""
    return request.param


@pytest.fixture
def step(name: str) -> PreStep:
    """Each pre-step with its default options."""
    return build_pre_steps([Choice(name=name)])[0]


def test_step_gives_a_block_for_each_block(name: str, step: PreStep) -> None:
    """1: its blocks are the roster's, in order, of the same tensor, start and length; each delta has its weight."""
    blocks = roster(deltas(NUM_SILOS, WIDE), spec=WIDE)
    expected = [(block.tensor, block.start, block.values.shape[1]) for block in blocks]

    stepped = step(blocks)

    assert expected == [(block.tensor, block.start, block.values.shape[1]) for block in stepped]
    assert {len(block.values) for block in stepped} == {stepped.num_silos}
    assert stepped.num_silos == PRE_STEPS[name].leaves(PRE_STEPS[name].options(), NUM_SILOS)
    assert min(stepped.num_examples) > 0


def test_step_gives_float32(step: PreStep) -> None:
    """2: its values are float32."""
    assert rows(step(roster(deltas(NUM_SILOS, WIDE), spec=WIDE))).dtype == np.float32


@pytest.mark.parametrize("length", [2 * GRAIN, 5 * GRAIN, 1024 * GRAIN])
def test_step_does_not_depend_on_the_length_of_blocks(step: PreStep, length: int) -> None:
    """3: the same bits come out whatever the length of the blocks."""
    flat = deltas(NUM_SILOS, WIDE)

    expected = rows(step(roster(flat, spec=WIDE)))

    assert rows(step(roster(flat, spec=WIDE, length=length))).tobytes() == expected.tobytes()


def test_step_leaves_one_delta_alone(step: PreStep) -> None:
    """4: one delta alone stays itself, bit for bit."""
    flat = deltas(1, WIDE)

    assert rows(step(roster(flat, spec=WIDE, num_examples=[12345]))).tobytes() == flat[0].tobytes()


def test_step_leaves_equal_deltas_equal(step: PreStep) -> None:
    """5: silos that agree still do, up to rounding."""
    flat = deltas(1, WIDE) * NUM_SILOS

    for row in rows(step(roster(flat, spec=WIDE))):
        np.testing.assert_allclose(row, flat[0], rtol=1e-6)


def test_step_stays_between_the_least_and_the_largest_and_zero(step: PreStep) -> None:
    """6: no value lies outside the range of its deltas and zero, up to rounding."""
    flat = np.stack(deltas(NUM_SILOS, WIDE))

    stepped = rows(step(roster(list(flat), spec=WIDE)))

    margin = 1e-6 * np.abs(flat).max(axis=0)
    assert (stepped >= np.minimum(flat.min(axis=0), 0.0) - margin).all()
    assert (stepped <= np.maximum(flat.max(axis=0), 0.0) + margin).all()


def test_step_scales_with_the_deltas(step: PreStep) -> None:
    """7: deltas twice as large become exactly twice as large, with the same weights: no hidden constant acts."""
    flat = deltas(NUM_SILOS, WIDE)
    plain, twice = (step(roster([factor * one for one in flat], spec=WIDE)) for factor in (1.0, 2.0))

    assert np.array_equal(rows(twice), 2.0 * rows(plain))
    assert twice.num_examples == plain.num_examples


def test_step_gives_the_same_twice(step: PreStep) -> None:
    """8: a second run over the same roster, and a second pass of the first, give the same bits."""
    blocks = roster(deltas(NUM_SILOS, WIDE), spec=WIDE, seed=b"seed")

    stepped = step(blocks)

    assert rows(stepped).tobytes() == rows(stepped).tobytes() == rows(step(blocks)).tobytes()


def test_step_carries_true_products(step: PreStep) -> None:
    """9: the products that it gives are those of the deltas that it gives, up to rounding, also from known ones on."""
    blocks = roster(deltas(NUM_SILOS, WIDE), spec=WIDE)
    for before in (blocks, replace(blocks, products=gram(blocks))):
        stepped = step(before)
        again = gram(replace(stepped, products=None))

        np.testing.assert_allclose(gram(stepped), again, atol=1e-6 * np.abs(again).max())


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_composes(step: PreStep, rule: str) -> None:
    """What a step gives is a roster to every rule: the same bits for every length of blocks, within the range."""
    flat = np.stack(deltas(NUM_SILOS, WIDE))
    built = build_rule(Choice(name=rule))
    combined = combine(built, step(roster(list(flat), spec=WIDE)))

    again = combine(built, step(roster(list(flat), spec=WIDE, length=1024 * GRAIN)))

    assert again.tobytes() == combined.tobytes()
    margin = 1e-6 * np.abs(flat).max(axis=0)
    assert (combined >= np.minimum(flat.min(axis=0), 0.0) - margin).all()
    assert (combined <= np.maximum(flat.max(axis=0), 0.0) + margin).all()


def test_step_accepts_the_least_number_of_silos_it_names(name: str) -> None:
    """A step is accepted for as many deltas as it says it needs, and refused below, by its place."""
    least = PRE_STEPS[name].least_silos(PRE_STEPS[name].options())
    choices = [Choice(name=name)]

    assert 1 <= deltas_left(choices, num_silos=least) <= least
    with pytest.raises(FederationInvalid, match=rf"strategy\.pre_steps\.0: {name} .*needs {least} deltas"):
        deltas_left(choices, num_silos=least - 1)


def test_step_refuses_an_unknown_option(name: str) -> None:
    """An option that the step does not have is refused by name and place, not ignored."""
    with pytest.raises(FederationInvalid, match=r"strategy\.pre_steps\.0.*max_nurm"):
        build_pre_steps([Choice.model_validate({"name": name, "max_nurm": 0.1})])
