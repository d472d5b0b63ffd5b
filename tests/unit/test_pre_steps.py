"""Pre-steps on numbers that a person can check, on ByzFL's examples, and in a federation's TOML.

ByzFL's examples: byzfl.epfl.ch, "Pre-Aggregators", the example of each class; see test_robust_rules.py.
"""

import numpy as np
import pytest

from aggregator.aggregate import check_strategy, held_bytes
from aggregator.blocks import RosterBlocks
from aggregator.gram import scratch_bytes
from aggregator.pre_steps import build_pre_steps
from aggregator.pre_steps.nnm import nearest
from aggregator.sharding.parts import require_shardable
from isthmus.errors import ConfigInvalid, FederationInvalid
from isthmus.federation import Choice, StrategyPolicy, parse_federation
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.rosters import TINY, deltas, payload_bytes, roster, rows, run_round, values

BYZFL = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
"""The vectors of every example."""

STEPS = 'pre_steps = [{ name = "norm_clip" }, { name = "bucketing", bucket_size = 2 }, { name = "nnm" }]'


def stepped(columns: list[list[float]], *, num_examples: list[int] | None = None, **choice: object) -> RosterBlocks:
    """What a pre-step makes of these silos, one list of values each."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (len(columns[0]),)),))
    seed = bytes(choice.pop("seed", b""))  # type: ignore[arg-type]
    blocks = roster(
        [np.array(column, np.float32) for column in columns],
        spec=spec,
        num_examples=num_examples or [1] * len(columns),
        seed=seed,
    )
    return build_pre_steps([Choice.model_validate(choice)])[0](blocks)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            {"name": "nnm", "hostile_fraction": 0.34},
            [[2.5, 3.5, 4.5], [2.5, 3.5, 4.5], [5.5, 6.5, 7.5]],
        ),
        ({"name": "bucketing", "seed": b"6"}, [[4.0, 5.0, 6.0], [4.0, 5.0, 6.0]]),  # the first and the last
        ({"name": "bucketing", "seed": b"1"}, [[5.5, 6.5, 7.5], [1.0, 2.0, 3.0]]),  # the last two
        (
            {"name": "norm_clip", "max_norm": 2.0},
            [
                [0.53452248, 1.06904497, 1.60356745],
                [0.91168461, 1.13960576, 1.36752692],
                [1.00514142, 1.14873305, 1.29232469],
            ],
        ),
    ],
    ids=["nnm", "bucketing-numpy", "bucketing-torch", "clipping"],
)
def test_examples_of_byzfl(choice: dict[str, object], expected: list[list[float]]) -> None:
    """What ByzFL publishes for NNM, Bucketing (with the two permutations of its examples) and Clipping comes out."""
    np.testing.assert_allclose(rows(stepped(BYZFL, **choice)), expected, rtol=1e-6)


def test_clipping_to_the_median_leaves_half_alone() -> None:
    """The three shorter of five deltas stay bit for bit; the two longer ones are as long as the third."""
    clipped = rows(stepped([[1.0], [-2.0], [3.0], [-300.0], [1e30]], name="norm_clip"))

    assert clipped[:, 0].tolist() == [1.0, -2.0, 3.0, pytest.approx(-3.0), pytest.approx(3.0)]


def test_clipping_to_a_norm_shortens_one_alone() -> None:
    """A limit in absolute terms acts on a single delta, too: the operator asked for it."""
    assert rows(stepped([[3.0, 4.0]], name="norm_clip", max_norm=1.0)).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)]
    ]


def test_mixed_deltas_weigh_what_they_are_made_of() -> None:
    """A claim cannot be told apart in a mean: every mixed delta weighs the same, and a bucket as many as are in it."""
    claims = [10**6, 1, 1, 1, 1]
    silos = [[float(silo)] for silo in range(5)]

    assert stepped(silos, num_examples=claims, name="nnm").num_examples == (4, 4, 4, 4, 4)
    assert stepped(silos, num_examples=claims, name="bucketing").num_examples == (2, 2, 1)


def test_buckets_follow_from_the_seed() -> None:
    """Another round's contributions shuffle otherwise; the same ones never do."""
    silos = [[float(2**silo)] for silo in range(8)]
    sums = {seed: rows(stepped(silos, name="bucketing", seed=bytes([seed])))[:, 0].tolist() for seed in range(4)}

    assert len({tuple(one) for one in sums.values()}) == 4
    assert rows(stepped(silos, name="bucketing", seed=b"\0"))[:, 0].tolist() == sums[0]


def test_seed_of_a_round_reaches_its_steps() -> None:
    """Rounds of the same deltas with other seeds have other buckets, and so other medians."""
    base = payload_bytes(values("base", TINY.num_elements), TINY)
    medians = {
        run_round(
            deltas(6, TINY), base=base, pre_steps=[Choice(name="bucketing")], rule=Choice(name="median"), seed=seed
        ).projector
        for seed in (b"", b"1", b"1")
    }

    assert len(medians) == 2


def test_of_equally_near_deltas_the_earlier_are_mixed() -> None:
    """Ties go by the roster, in rosters of any size: of forty deltas every second one is near."""
    near = np.tile([0.0, 1.0], (40, 20))

    assert nearest(near, 5) == [[0, 2, 4, 6, 8]] * 40


def test_weight_cap_is_the_largest_that_keeps_the_share() -> None:
    """Of claims 100, 10, 10, 10 and a share of 0.4, 20 is left: 20 of 50."""
    capped = stepped([[1.0]] * 4, num_examples=[100, 10, 10, 10], name="weight_cap", max_share=0.4)

    assert capped.num_examples == (20.0, 10, 10, 10)


def test_weight_cap_that_cannot_be_kept_weighs_all_alike() -> None:
    """Three silos cannot each have a fifth; then none has more than another."""
    assert stepped([[1.0]] * 3, num_examples=[100, 10, 5], name="weight_cap").num_examples == (5, 5, 5)


def federation(strategy: str, *, silos: int) -> str:
    """A federation with this strategy and so small a quorum."""
    return f"""
name = "harbour"
rounds = 1
participation = {{ silos = {{ min = {silos}, max = 99 }} }}
plan = {{ learning_rate = {{ initial = 0.1 }} }}
[strategy]
{strategy}
"""


def test_pre_steps_are_read_in_their_order() -> None:
    """A list of tables in the TOML becomes the steps, in order; none is the default."""
    steps = parse_federation(federation(STEPS, silos=3)).strategy.pre_steps

    assert [(step.name, step.options) for step in steps] == [
        ("norm_clip", {}),
        ("bucketing", {"bucket_size": 2}),
        ("nnm", {}),
    ]
    assert parse_federation(federation("", silos=3)).strategy.pre_steps == ()


@pytest.mark.parametrize(
    ("strategy", "silos", "text"),
    [
        (STEPS, 8, r"strategy\.pre_steps\.2: nnm .* needs 5 deltas, .* \(8\) it gets 4"),
        (STEPS + '\nrule = { name = "robust", hostile_fraction = 0.1 }', 9, r"9, of which strategy\.pre_steps leave 5"),
        ('pre_steps = [{ name = "clip" }]', 8, r"strategy\.pre_steps\.0\.name: there is no 'clip'; choose .*norm_clip"),
        ('pre_steps = [{ name = "nnm", hostile_fraction = 0.5 }]', 8, r"strategy\.pre_steps\.0.*hostile_fraction"),
        ('pre_steps = [{ name = "weight_cap", max_share = 0 }]', 8, r"strategy\.pre_steps\.0.*max_share"),
        ('pre_steps = [{ name = "bucketing", bucket_size = 0 }]', 8, r"strategy\.pre_steps\.0.*bucket_size"),
        ('pre_steps = [{ name = "norm_clip", max_norm = -1.0 }]', 8, r"strategy\.pre_steps\.0.*max_norm"),
    ],
)
def test_steps_that_cannot_work_are_refused(strategy: str, silos: int, text: str) -> None:
    """What is wrong with a step, or with the number of deltas that it gets or leaves, is said at creation."""
    with pytest.raises(FederationInvalid, match=text):
        check_strategy(parse_federation(federation(strategy, silos=silos)), TINY)


@pytest.mark.parametrize("strategy", ['pre_steps = { name = "nnm" }', "pre_steps = [" + '{ name = "nnm" }, ' * 9 + "]"])
def test_steps_that_are_no_short_list_are_refused(strategy: str) -> None:
    """One table in place of a list, and a list of more steps than anybody needs, are refused by key."""
    with pytest.raises(FederationInvalid, match=r"strategy\.pre_steps"):
        parse_federation(federation(strategy, silos=9))


def test_steps_act_before_the_rule() -> None:
    """A round with steps is the round of what they give: one delta clipped to a norm moves the projector by that."""
    flat = deltas(1, TINY)
    base = payload_bytes(np.zeros(TINY.num_elements, np.float32), TINY)
    step = Choice.model_validate({"name": "norm_clip", "max_norm": 0.125})

    moved = np.frombuffer(run_round(flat, base=base, pre_steps=[step]).projector[-4 * TINY.num_elements :], "<f4")

    assert np.linalg.norm(moved.astype(np.float64)) == pytest.approx(0.125, rel=1e-6)
    assert np.linalg.norm(flat[0]) > 0.125


def test_values_that_overflow_are_refused_without_a_warning() -> None:
    """Deltas so large that their mixture is infinite publish nothing, and warn of nothing on the way."""
    huge = [np.full(TINY.num_elements, 3e38, np.float32)] * 5
    base = payload_bytes(values("base", TINY.num_elements), TINY)

    with pytest.raises(Exception, match="NaN or infinity"):
        run_round(huge, base=base, pre_steps=[Choice(name="nnm"), Choice(name="nnm")], rule=Choice(name="krum"))


def test_memory_of_whole_deltas_is_part_of_the_budget() -> None:
    """What products and mixing hold comes out of the budget; silos so many that it does not fit are refused."""
    plain, robust = StrategyPolicy(), StrategyPolicy(rule=Choice(name="robust"))
    capped = StrategyPolicy(pre_steps=(Choice(name="bucketing"),))

    assert held_bytes(plain, num_silos=10_000) == 0
    assert held_bytes(robust, num_silos=10_000) == held_bytes(capped, num_silos=10_000) == scratch_bytes(10_000)
    assert scratch_bytes(10_000) > 6 << 30
    with pytest.raises(ConfigInvalid, match="configure at least"):
        run_round(
            [np.ones(TINY.num_elements, np.float32)] * 200,
            base=payload_bytes(values("base", TINY.num_elements), TINY),
            rule=Choice(name="robust"),
            memory_budget_bytes=4 << 20,
        )


def test_pre_steps_of_whole_deltas_cannot_be_split() -> None:
    """What a cluster cannot split is refused by the step's name; steps that look at weights and places are not."""
    for name in ("norm_clip", "nnm"):
        with pytest.raises(ConfigInvalid, match=rf"pre-step {name} decides by whole deltas.*bucketing.*mean"):
            require_shardable(StrategyPolicy(pre_steps=(Choice(name="weight_cap"), Choice(name=name))))
    require_shardable(StrategyPolicy(pre_steps=(Choice(name="weight_cap"), Choice(name="bucketing"))))
