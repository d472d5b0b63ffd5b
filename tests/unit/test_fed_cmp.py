"""Fed-CMP against a plain float64 reference, its exact reductions, its state, its room."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import safetensors.numpy
from pydantic import ValidationError

from aggregator.aggregate import check_strategy
from aggregator.fed_cmp.basis import Spectrum, rank_by_energy
from aggregator.fed_cmp.extrapolation import EXTRAPOLATIONS
from aggregator.fed_cmp.reliability import CONSENSUS, MEASURES
from aggregator.fed_cmp.rule import FedCmpOptions
from isthmus.codec import F32
from isthmus.errors import ConfigInvalid, FederationInvalid
from isthmus.federation import Choice, Federation
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.fed_cmp_reference import Kept, fed_cmp
from tests.rosters import Round, deltas, payload_bytes, run_round, values, values_of

SHAPES = {"tall": (97, 6), "wide": (7, 130), "square": (40, 40)}
MATRICES = ProjectorSpec(
    (
        TensorSpec("a.bias", "F32", (97,)),
        *(TensorSpec(f"b.{name}", "F32", shape) for name, shape in sorted(SHAPES.items())),
        TensorSpec("c.scale", "F32", ()),
    )
)
COUNT = MATRICES.num_elements
WEIGHTS = values("fed-cmp-base", COUNT)
PLAIN = {"reliability": "uniform", "extrapolation": "none"}


def choice(**options: object) -> Choice:
    """The rule with these options."""
    return Choice.model_validate({"name": "fed_cmp", **options})


def run(
    flat: list[F32],
    *,
    base: F32 = WEIGHTS,
    state: bytes = b"",
    rule: Choice,
    spec: ProjectorSpec = MATRICES,
    num_examples: Sequence[int] = (),
) -> Round:
    """One round of it with plain steps."""
    return run_round(flat, base=payload_bytes(base, spec), spec=spec, state=state, rule=rule, num_examples=num_examples)


def tensors(flat: F32, spec: ProjectorSpec = MATRICES) -> dict[str, np.ndarray]:
    """Flat values by tensor, float64."""
    sizes = np.cumsum([tensor.num_elements for tensor in spec.tensors])[:-1]
    parts = np.split(flat.astype(np.float64), sizes)
    return {one.name: part.reshape(one.shape) for one, part in zip(spec.tensors, parts, strict=True)}


@pytest.mark.parametrize("space", ["weights", "deltas"])
@pytest.mark.parametrize("consensus", CONSENSUS)
@pytest.mark.parametrize(
    ("reliability", "extrapolation"),
    [*((name, "none") for name in MEASURES), *itertools.product(("uniform", "cosine"), ("matrix", "direction"))],
)
def test_three_rounds_are_those_of_the_reference(
    space: str, consensus: str, reliability: str, extrapolation: str
) -> None:
    """Tall, wide and square matrices, with momentum: projector and state are those of the formulas, to float32."""
    measured = {"consensus": consensus, "reliability": reliability, "extrapolation": extrapolation}
    named = {**measured, "space": space, "rank": 5, "beta": 0.7}
    options, rule = FedCmpOptions.model_validate(named), choice(**named)
    base, state, kept = WEIGHTS, b"", dict[str, Kept]()
    for number in range(3):
        flat = deltas(4, MATRICES, name=f"fed-cmp-{number}")
        outcome = run(flat, base=base, state=state, rule=rule)
        result = tensors(values_of(outcome.projector, COUNT))
        remembered = safetensors.numpy.load(outcome.state)
        for name in (f"b.{shape}" for shape in SHAPES):
            pushed = [tensors(one)[name] for one in flat]
            expected, kept[name] = fed_cmp(
                tensors(base)[name], pushed, [1, 2, 3, 4], options=options, before=kept.get(name)
            )
            np.testing.assert_allclose(result[name], expected, atol=3e-6)
            used = kept[name].basis.shape[1]
            absolute = np.abs if number == 0 else np.asarray  # signs are ours to choose where nothing came before
            np.testing.assert_allclose(
                absolute(remembered[f"basis/{name}"][:, :used]), absolute(kept[name].basis), atol=3e-6
            )
            np.testing.assert_allclose(remembered[f"basis_momentum/{name}"][:, :used], kept[name].momentum, atol=3e-6)
            kept[name] = Kept(
                *(remembered[f"{slot}/{name}"][:, :used].astype(np.float64) for slot in ("basis", "basis_momentum"))
            )
        base, state = values_of(outcome.projector, COUNT), outcome.state


def test_one_silo_is_the_mean() -> None:
    """A roster of one gives what the rule mean gives, bit for bit, also when there is momentum; the state stays."""
    first = run(deltas(3, MATRICES), rule=choice(beta=0.5))

    alone = run(deltas(1, MATRICES, name="alone"), state=first.state, rule=choice(beta=0.5))

    assert alone.projector == run(deltas(1, MATRICES, name="alone"), rule=Choice(name="mean")).projector
    assert alone.state == first.state


@pytest.mark.parametrize("space", ["weights", "deltas"])
def test_uniform_reliability_without_more_is_the_mean(space: str) -> None:
    """Uniform reliability, beta = 0 and no extrapolation give what the rule mean gives, bit for bit, and no state."""
    plain = run(deltas(5, MATRICES), rule=choice(**PLAIN, beta=0.0, space=space))

    assert plain == run(deltas(5, MATRICES), rule=Choice(name="mean"))


def test_uniform_reliability_with_momentum_begins_as_the_mean() -> None:
    """Before there is a drift momentum does nothing: the first round is the mean, bit for bit."""
    first = run(deltas(5, MATRICES), rule=choice(**PLAIN, beta=0.9))

    assert first.projector == run(deltas(5, MATRICES), rule=Choice(name="mean")).projector


def test_silos_that_agree_are_the_mean() -> None:
    """Where every silo sends the same there is nothing to extrapolate: the mean, bit for bit."""
    same = deltas(1, MATRICES) * 4

    assert (
        run(same, rule=choice(reliability="uniform", beta=0.0)).projector
        == run(same, rule=Choice(name="mean")).projector
    )


def test_steps_apart_keep_their_length() -> None:
    """Four silos that move four columns by the same amount, one each: a column moves by half of it, not a quarter."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (5, 4)),))
    flat = [np.zeros((5, 4), np.float32) for _ in range(4)]
    for silo, delta in enumerate(flat):
        delta[:, silo] = 0.5

    moved = run(
        [delta.ravel() for delta in flat],
        base=np.zeros(20, np.float32),
        rule=choice(reliability="uniform", beta=0.0, space="deltas"),
        spec=spec,
        num_examples=[1, 1, 1, 1],
    )

    np.testing.assert_allclose(values_of(moved.projector, 20), np.full(20, 0.25), rtol=1e-6)


def test_biases_are_averaged() -> None:
    """What is no matrix is the weighted mean, bit for bit."""
    fused, mean = run(deltas(5, MATRICES), rule=choice()), run(deltas(5, MATRICES), rule=Choice(name="mean"))
    ours, plain = (tensors(values_of(one.projector, COUNT)) for one in (fused, mean))

    for name in ("a.bias", "c.scale"):
        assert np.array_equal(ours[name], plain[name])
    assert not np.array_equal(ours["b.square"], plain["b.square"])


def low_rank(name: str, rank: int, scale: float) -> F32:
    """A delta each of whose matrices has this rank."""
    parts = []
    for tensor in MATRICES.tensors:
        if len(tensor.shape) == 2:
            left = values(f"{name}-{tensor.name}-left", tensor.shape[0] * rank).reshape(-1, rank)
            right = values(f"{name}-{tensor.name}-right", tensor.shape[1] * rank).reshape(rank, -1)
            parts.append((left @ right).ravel() * np.float32(scale))
        else:
            parts.append(values(f"{name}-{tensor.name}", tensor.num_elements, scale=scale))
    return np.concatenate(parts)


def test_rank_deficient_matrices_are_those_of_the_reference() -> None:
    """Matrices whose rank is far below the basis' give what the formulas give; no direction is made of rounding."""
    options = {"rank": 16, "energy": 1.0, "beta": 0.5, "space": "weights"}
    base, flat = low_rank("base", 2, 1.0), [low_rank(f"silo-{silo}", 1, 0.1) for silo in range(3)]

    outcome = run(flat, base=base, rule=choice(**options))

    result, state = tensors(values_of(outcome.projector, COUNT)), safetensors.numpy.load(outcome.state)
    for name in (f"b.{shape}" for shape in SHAPES):
        pushed = [tensors(one)[name] for one in flat]
        expected, kept = fed_cmp(tensors(base)[name], pushed, [1, 2, 3], options=FedCmpOptions.model_validate(options))
        np.testing.assert_allclose(result[name], expected, atol=3e-6)
        assert kept.basis.shape[1] == 5 == np.count_nonzero(np.abs(state[f"basis/{name}"]).max(axis=0))


def test_nothing_at_all_stays_nothing() -> None:
    """Matrices of zeros have no basis, so nothing is fused and nothing remembered; the first that is one begins it."""
    zeros = [np.zeros(COUNT, np.float32)] * 3

    nothing = run(zeros, base=zeros[0], rule=choice(beta=0.5))

    assert not values_of(nothing.projector, COUNT).any()
    assert not any(tensor.any() for tensor in safetensors.numpy.load(nothing.state).values())
    begun = run(deltas(3, MATRICES), state=nothing.state, rule=choice(beta=0.5))
    assert safetensors.numpy.load(begun.state)["basis/b.wide"].any()


def test_fewer_directions_than_before_begin_anew() -> None:
    """Where a basis can no longer have as many directions its momentum is dropped, not stretched."""
    rule = choice(space="deltas", rank=8, energy=1.0, beta=0.5)
    state = run(deltas(4, MATRICES), rule=rule).state
    flat = [low_rank(f"silo-{silo}", 1, 0.1) for silo in range(3)]

    anew, fresh = run(flat, state=state, rule=rule), run(flat, rule=rule)

    assert anew == fresh


def test_momentum_goes_on_where_the_drift_went() -> None:
    """A basis that turns by the same angle each round is turned further than it was pushed."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (4, 3)),))
    rule = choice(**PLAIN, rank=1, energy=0.5, beta=0.5, space="weights")

    def turned(angle: float) -> F32:
        return np.outer([np.cos(angle), np.sin(angle), 0, 0], [3, 2, 1]).astype(np.float32).ravel()

    base = turned(0.0)
    first = run([np.zeros_like(base)] * 2, base=base, rule=rule, spec=spec)
    second = run([turned(0.1) - base] * 2, base=base, state=first.state, rule=rule, spec=spec)

    column = values_of(second.projector, 12).reshape(4, 3)[:, 0]
    assert 0.14 < np.arctan2(column[1], column[0]) < 0.16


def test_server_optimizer_keeps_its_state_beside_the_rules() -> None:
    """The rule's tensors and each slot of any server optimizer stand in one payload, and both go on from it."""
    rule, optimizer = choice(rank=3, beta=0.5), Choice(name="adam")
    flat, base = deltas(3, MATRICES), payload_bytes(WEIGHTS, MATRICES)

    first = run_round(flat, base=base, spec=MATRICES, rule=rule, optimizer=optimizer)
    second = run_round(flat, base=base, spec=MATRICES, state=first.state, rule=rule, optimizer=optimizer)

    before, after = (safetensors.numpy.load(one.state) for one in (first, second))
    slots = ("basis", "basis_momentum", "first_moment", "second_moment")
    assert {name.split("/")[0] for name in after} == set(slots)
    assert after["basis/b.tall"].shape == (97, 3)
    mean = run_round(flat, base=base, spec=MATRICES, optimizer=optimizer)
    moment = safetensors.numpy.load(mean.state)["first_moment/a.bias"]
    assert np.array_equal(before["first_moment/a.bias"], moment)
    np.testing.assert_allclose(after["first_moment/a.bias"], 1.9 * moment, rtol=1e-5)


def test_budget_too_small_is_refused_with_what_is_enough() -> None:
    """The budget that the refusal names is enough for one matrix at a time, with the same bits; less is not."""
    spec = ProjectorSpec(tuple(TensorSpec(name, "F32", (200, 300)) for name in ("v", "w")))
    flat, base = deltas(6, spec), payload_bytes(values("base", spec.num_elements), spec)

    def outcome(budget_bytes: int) -> Round:
        return run_round(flat, base=base, spec=spec, rule=choice(), memory_budget_bytes=budget_bytes)

    with pytest.raises(ConfigInvalid, match="fed_cmp") as refused:
        outcome(4 << 20)
    enough = int(refused.value.details["limit"])

    assert outcome(enough) == outcome(256 << 20)
    with pytest.raises(ConfigInvalid, match="fed_cmp"):
        outcome(enough - 1)


@pytest.mark.parametrize(("energy", "rank"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (1.0, 3)])
def test_rank_is_the_least_with_the_energy(energy: float, rank: int) -> None:
    """As few directions as hold the share; all there are where that is not enough."""
    spectrum = Spectrum(np.eye(5)[:, :3], np.array([5.0, 3.0, 1.0]), trace=10.0)

    assert rank_by_energy(spectrum, energy) == rank


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rank", 0),
        ("rank", 257),
        ("energy", 0.0),
        ("beta", 1.0),
        ("temperature", 0.0),
        ("reliability", "trust"),
        ("space", 1),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: object) -> None:
    """An option that the rule does not take is refused when the federation is created, by name."""
    federation = Federation.model_validate(
        {
            "name": "tiny",
            "rounds": 1,
            "participation": {"silos": {"min": 1, "max": 9}},
            "plan": {"learning_rate": {"initial": 0.1}},
            "strategy": {"rule": {"name": "fed_cmp", option: value}},
        }
    )

    with pytest.raises(FederationInvalid, match=rf"strategy\.rule.*{option}"):
        check_strategy(federation, MATRICES)


def test_measures_and_options_have_the_same_names() -> None:
    """What may be chosen is what there is."""
    for field, known in (("reliability", MEASURES), ("consensus", CONSENSUS), ("extrapolation", EXTRAPOLATIONS)):
        for name in known:
            FedCmpOptions.model_validate({field: name})
        with pytest.raises(ValidationError):
            FedCmpOptions.model_validate({field: "-".join(itertools.chain(known))})
