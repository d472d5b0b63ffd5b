"""The contract of trainers, for every trainer there is; one test or more per numbered case of `Trainer`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from isthmus.errors import ConfigInvalid, SpecMismatch
from isthmus.federation import PrivacyPolicy, TrainingPlan
from isthmus.spec import spec_of
from silo_agent.trainer import TRAINERS, LocalResult, Step, Trainer, quiet
from tests.plans import PLAN, plan_with
from tests.silo_data import colour_samples
from tests.tiny_trainers import CASES, Case, build_case, with_tiny_encoder


class Bench:
    """One case with its folder, and a trainer of it."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.folder = folder
        self.samples = colour_samples(folder)
        self.trainer = self.build()

    def build(self, *, silo: str = "north") -> Trainer:
        """A new trainer of the case."""
        return build_case(self.case, self.folder, self.samples, silo=silo)

    def train(self, plan: TrainingPlan = PLAN, *, trainer: Trainer | None = None, **named: object) -> LocalResult:
        """Trains a round from the case's projector."""
        projector = {name: tensor.clone() for name, tensor in self.case.projector.items()}
        return (trainer or self.trainer).train(projector, plan, **{"round_number": 1, **named})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=CASES)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Every case in turn."""
    with_tiny_encoder()
    folder = tmp_path_factory.mktemp(request.param)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench(CASES[request.param](folder), folder)
    torch.set_num_threads(threads)


def distance(result: LocalResult, bench: Bench) -> float:
    """How far the projector moved."""
    moves = [(result.tensors[name] - tensor).square().sum() for name, tensor in bench.case.projector.items()]
    return torch.stack(moves).sum().sqrt().item()


def same(one: LocalResult, other: LocalResult) -> bool:
    """Whether two results are bit-identical."""
    tensors = all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    return tensors and (one.metrics, one.num_examples, one.cursor) == (other.metrics, other.num_examples, other.cursor)


def test_every_trainer_has_a_case() -> None:
    """Adding a trainer to the registry adds it to this suite."""
    assert {case.partition("-")[0] for case in CASES} == set(TRAINERS)


def test_fitting_projector_is_accepted(bench: Bench) -> None:
    """Case 1: a projector of the model's own spec fits."""
    bench.trainer.require(spec_of(bench.case.projector), PLAN)


def test_other_projectors_are_refused(bench: Bench) -> None:
    """Case 1: a projector of another width or with another tensor is refused before anything is trained."""
    wider = {name: torch.cat([tensor, tensor]) for name, tensor in bench.case.projector.items()}
    more = {**bench.case.projector, "extra": torch.zeros(1)}

    for projector in (wider, more):
        with pytest.raises(SpecMismatch):
            bench.trainer.require(spec_of(projector), PLAN)


def test_unknown_settings_are_refused(bench: Bench) -> None:
    """Case 1: a setting of the federation that the trainer does not know is refused by its name."""
    plan = plan_with(settings={"no_such_setting": "1"})

    with pytest.raises(ConfigInvalid, match=r"plan\.settings .*no_such_setting"):
        bench.trainer.require(spec_of(bench.case.projector), plan)


def test_training_lowers_the_loss(bench: Bench) -> None:
    """Case 2: some epochs make the captions likelier, by the little that a random language model allows."""
    steps = list[Step]()
    plan = plan_with(local_epochs=12, learning_rate=0.1, final_learning_rate=0.03, gradient_clip_norm=0.0)

    result = bench.train(plan, report=steps.append)

    assert result.num_examples == 8
    assert len(steps) == 24
    assert result.metrics["train_loss_last"] < steps[0].loss - 0.008


def test_tensors_keep_their_form(bench: Bench) -> None:
    """Case 2: what comes back has the names and shapes that came in, float32 on the CPU; what came in is unchanged."""
    projector = {name: tensor.clone() for name, tensor in bench.case.projector.items()}

    result = bench.trainer.train(projector, PLAN, round_number=1)

    assert spec_of(result.tensors) == spec_of(bench.case.projector)
    assert all((tensor.dtype, tensor.device.type) == (torch.float32, "cpu") for tensor in result.tensors.values())
    assert all(torch.equal(tensor, projector[name]) for name, tensor in bench.case.projector.items())
    assert distance(result, bench) > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"local_steps": 1},
        {"local_epochs": 2},
        {"batch_size": 3},
        {"optimizer": "sgd"},
        {"learning_rate": 0.02},
        {"final_learning_rate": 0.001},
        {"weight_decay": 5.0},
        {"gradient_clip_norm": 1e-4, "optimizer": "sgd"},
        {"fedprox_mu": 50.0},
        {"seed": 8},
    ],
)
def test_every_field_of_the_plan_matters(bench: Bench, changes: dict[str, object]) -> None:
    """Case 2: changing any one field of the plan changes the result: none is passed over."""
    assert not same(bench.train(plan_with(**changes)), bench.train())


def test_privacy_is_honoured(bench: Bench) -> None:
    """Cases 2 and 3: under privacy two trainings differ, all samples count, and no loss leaves."""
    plan = plan_with(privacy=PrivacyPolicy(clip_norm=1.0, noise_multiplier=1.0, epsilon=8.0, delta=1e-5))
    one, other = bench.train(plan), bench.train(plan)

    assert distance(one, bench) > 0
    assert not same(one, other)
    assert (one.metrics, one.num_examples) == ({}, len(bench.samples.items))


def test_equal_arguments_give_equal_bits(bench: Bench) -> None:
    """Cases 3 and 4: a trainer that has trained other rounds, and a fresh one, give the same bits."""
    expected = bench.train()
    bench.train(plan_with(learning_rate=0.1), round_number=2)

    assert same(expected, bench.train())
    assert same(expected, bench.train(trainer=bench.build()))


def test_round_and_silo_change_the_order(bench: Bench) -> None:
    """Case 3: another round, or a silo of another name, goes through its data in another order."""
    plan = plan_with(batch_size=1)
    expected = bench.train(plan)

    assert not same(expected, bench.train(plan, round_number=2))
    assert not same(expected, bench.train(plan, trainer=bench.build(silo="south")))


def test_training_leaves_the_random_state_alone(bench: Bench) -> None:
    """Case 4: torch's global random numbers go on as if nothing had been trained."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    bench.train()

    assert torch.equal(expected, torch.rand(1))


def test_global_projector_without_steps_comes_back(bench: Bench) -> None:
    """Case 5: with a vanishing learning rate the projector comes back as it was, so nothing else was loaded into it."""
    plan = plan_with(optimizer="sgd", learning_rate=1e-30, final_learning_rate=1e-30)

    assert distance(bench.train(plan), bench) == 0.0


def test_one_pass_uses_every_sample_once(bench: Bench) -> None:
    """Case 6: rounds of one-pass steps use all samples once; then there is no example, and the projector as it came."""
    plan = plan_with(one_pass=True, local_steps=1, batch_size=3)
    claims, cursor = [], ""
    for number in (1, 2, 3, 4):
        result = bench.train(plan, round_number=number, cursor=cursor, report=quiet)
        cursor = result.cursor
        claims.append(result.num_examples)

    assert claims == [3, 3, 2, 0]
    assert distance(result, bench) == 0.0


def test_evaluation_is_of_held_out_samples_alone(bench: Bench) -> None:
    """Case 7: the loss is that of the held-out samples, however they are batched; without any there is none."""
    held_out = build_case(bench.case, bench.folder, bench.samples, held_out=bench.samples)

    one = held_out.evaluate(bench.case.projector, plan_with(local_epochs=5, batch_size=3))
    other = held_out.evaluate(bench.case.projector, plan_with(local_epochs=5, batch_size=8))

    assert one is not None
    assert other is not None
    assert (one.num_samples, other.num_samples) == (5, 5)
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert bench.trainer.evaluate(bench.case.projector, PLAN) is None


def test_evaluation_follows_training(bench: Bench) -> None:
    """Case 7: a projector that was trained on samples does better on them; how far it is is told to the end."""
    trainer = build_case(bench.case, bench.folder, bench.samples, held_out=bench.samples)
    plan = plan_with(local_epochs=12, learning_rate=0.1, final_learning_rate=0.03, gradient_clip_norm=0.0)
    trained = bench.train(plan).tensors
    told = list[tuple[int, int]]()

    before = trainer.evaluate(bench.case.projector, plan, tell=lambda done, total: told.append((done, total)))
    after = trainer.evaluate(trained, plan)

    assert before is not None
    assert after is not None
    assert after.loss < before.loss
    assert told[-1] == (8, 8)


def test_evaluation_changes_nothing(bench: Bench) -> None:
    """Case 7: a round trained after an evaluation gives the bits that it gives without, and no sample of the other."""
    trainer = build_case(bench.case, bench.folder, bench.samples, held_out=bench.samples)
    expected = bench.train()

    trainer.evaluate({name: tensor * 2 for name, tensor in bench.case.projector.items()}, PLAN)

    assert same(expected, bench.train(trainer=trainer))
