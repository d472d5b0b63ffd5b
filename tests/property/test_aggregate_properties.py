"""What holds for every roster: one result, whatever the order of arrival and the size of blocks; near float64's."""

import dataclasses
import random
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.blocks import GRAIN, Block, CombinedBlock, RosterBlocks
from aggregator.gram import gram, scratch_bytes
from aggregator.pre_steps import PRE_STEPS
from aggregator.rules import RULES, build_rule
from aggregator.server_optimizers import SERVER_OPTIMIZERS
from isthmus.codec import F32
from isthmus.contribution import READABLE, Encoding
from isthmus.federation import Choice
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import Round, combine, deltas, payload_bytes, roster, run_round, values

SHAPES = st.lists(
    st.one_of(
        st.just(()),
        st.tuples(st.integers(1, 5)),
        st.tuples(st.integers(1, 40), st.integers(1, 90)),
        st.tuples(st.integers(1, 3), st.just(GRAIN)),
    ),
    min_size=1,
    max_size=4,
)
SPECS = SHAPES.map(lambda shapes: ProjectorSpec(tuple(TensorSpec(f"t{i}", "F32", s) for i, s in enumerate(shapes))))
ROSTERS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 10**6)), min_size=1, unique_by=lambda s: s[0])
GRAINS = st.integers(1, 8)


@dataclasses.dataclass(frozen=True)
class Case:
    """One round: which projector, who contributed what in which order, how it is combined."""

    spec: ProjectorSpec
    arrivals: list[tuple[str, int]]
    encoding: Encoding
    pre_steps: list[str]
    rule: str
    optimizer: str

    def published(self, arrivals: list[tuple[str, int]], *, grains: int) -> Round:
        """What the round publishes when the contributions arrive in this order and blocks have this many grains."""
        in_roster_order = sorted(arrivals)
        return run_round(
            [values(silo, self.spec.num_elements) for silo, _ in in_roster_order],
            base=payload_bytes(values("base", self.spec.num_elements), self.spec),
            spec=self.spec,
            num_examples=[num_examples for _, num_examples in in_roster_order],
            pre_steps=[Choice(name=step) for step in self.pre_steps],
            rule=Choice(name=self.rule),
            optimizer=Choice(name=self.optimizer),
            encoding=self.encoding,
            memory_budget_bytes=grains * GRAIN * (8 * len(arrivals) + 128) + scratch_bytes(len(arrivals)),
        )


CASES = st.builds(
    Case,
    spec=SPECS,
    arrivals=ROSTERS,
    encoding=st.sampled_from(READABLE),
    pre_steps=st.lists(st.sampled_from(list(PRE_STEPS)), max_size=2),
    rule=st.sampled_from(list(RULES)),
    optimizer=st.sampled_from(list(SERVER_OPTIMIZERS)),
)


@settings(max_examples=60, deadline=None)
@given(case=CASES, order=st.randoms(use_true_random=False), grains=GRAINS)
def test_bytes_depend_on_the_roster_alone(case: Case, order: random.Random, grains: int) -> None:
    """Any order of arrival and any memory budget give the same projector and state, byte for byte."""
    shuffled = list(case.arrivals)
    order.shuffle(shuffled)

    assert case.published(shuffled, grains=grains) == case.published(case.arrivals, grains=1000)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), num_silos=st.integers(1, 12), count=st.integers(1, 50))
def test_rules_are_near_float64(data, num_silos, count) -> None:
    """Mean, median and trimmed mean differ from numpy's float64 answer by float32 rounding alone."""
    rows = data.draw(
        st.lists(
            st.lists(st.floats(-1e6, 1e6, width=32), min_size=count, max_size=count),
            min_size=num_silos,
            max_size=num_silos,
        )
    )
    flat = np.array(rows, np.float32)
    num_examples = data.draw(st.lists(st.integers(1, 10**6), min_size=num_silos, max_size=num_silos))
    exact, trimmed = flat.astype(np.float64), num_silos // 5
    expected = {
        "mean": np.average(exact, axis=0, weights=num_examples),
        "median": np.median(exact, axis=0),
        "trimmed_mean": np.sort(exact, axis=0)[trimmed : num_silos - trimmed].mean(axis=0),
    }
    spec = ProjectorSpec((TensorSpec("w", "F32", (count,)),))

    for name, answer in expected.items():
        measured = combine(build_rule(Choice(name=name)), roster(list(flat), spec=spec, num_examples=num_examples))
        assert (np.abs(measured - answer) <= 1e-6 * num_silos * np.abs(flat).max() + 1e-45).all()


@settings(max_examples=40, deadline=None)
@given(num_silos=st.integers(1, 9), seed=st.integers(0, 100), order=st.randoms(use_true_random=False), data=st.data())
def test_order_statistics_do_not_depend_on_the_roster_order(num_silos, seed, order, data) -> None:
    """Median and trimmed mean give the same bits even for another order of the roster."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (50,)),))
    flat = deltas(num_silos, spec, name=f"seed-{seed}")
    shuffled = list(flat)
    order.shuffle(shuffled)
    rule = build_rule(Choice(name=data.draw(st.sampled_from(["median", "trimmed_mean"]))))

    assert combine(rule, roster(shuffled, spec=spec)).tobytes() == combine(rule, roster(flat, spec=spec)).tobytes()


def nearest_to_others(blocks: RosterBlocks) -> Iterator[CombinedBlock]:
    """A rule of two passes: the Gram matrix, then the delta with the least sum of distances to the others."""
    products = gram(blocks)
    squares = np.diag(products)
    chosen = int(np.argmin((squares[:, None] + squares - 2 * products).sum(axis=1)))
    for block in blocks:
        yield CombinedBlock(block.tensor, block.start, block.values[chosen])


@settings(max_examples=30, deadline=None)
@given(spec=SPECS, num_silos=st.integers(1, 6), grains=GRAINS)
def test_rules_of_two_passes_fit(spec, num_silos, grains) -> None:
    """A rule that first sums over all blocks gives the same bits for every block size, and one of the deltas here."""
    flat = deltas(num_silos, spec)
    whole = roster(flat, spec=spec, length=1000 * GRAIN)
    parts = roster(flat, spec=spec, length=grains * GRAIN)

    assert gram(parts).tobytes() == gram(whole).tobytes()
    assert combine(nearest_to_others, parts).tobytes() in {delta.tobytes() for delta in flat}


def halved(blocks: RosterBlocks) -> RosterBlocks:
    """A step before a rule: every delta at half its size, every weight at a third."""

    def walk() -> Iterator[Block]:
        for block in blocks:
            yield Block(block.tensor, block.start, block.values * np.float32(0.5))

    return dataclasses.replace(blocks, walk=walk, num_examples=tuple(n / 3 for n in blocks.num_examples))


@settings(max_examples=30, deadline=None)
@given(spec=SPECS, num_silos=st.integers(1, 6), rule=st.sampled_from(list(RULES)))
def test_steps_before_a_rule_compose(spec, num_silos, rule) -> None:
    """What a step makes of a roster is a roster to every rule: halved deltas are combined to the half."""
    flat: list[F32] = deltas(num_silos, spec)
    plain = combine(build_rule(Choice(name=rule)), roster(flat, spec=spec))

    stepped = combine(build_rule(Choice(name=rule)), halved(roster(flat, spec=spec)))

    np.testing.assert_allclose(stepped, plain * np.float32(0.5), rtol=1e-5, atol=1e-7)
