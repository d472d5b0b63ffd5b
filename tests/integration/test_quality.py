"""The quality benchmark on tiny models: real training and the aggregator's own arithmetic, in seconds."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from benchmarks.quality import plots, report, siege_report
from benchmarks.quality.attacks import ATTACKS
from benchmarks.quality.cells import Cell, Result, cells_of, computed, kept, labels_of, result_of
from benchmarks.quality.federate import Recipe, federate, federation_of, initial_projector
from benchmarks.quality.material import Material, held_out
from benchmarks.quality.methods import ALONE, FEDAVG, METHODS
from benchmarks.quality.siege import Siege, defences, siege_result
from benchmarks.quality.silos import full_gradient, silo_data, train
from benchmarks.quality.splits import SPLITS
from isthmus.federation import plan_of_round
from tests.tiny_material import tiny_material

RECIPE = Recipe(rounds=2, one_pass_rounds=2, batch_size=8, learning_rate=2e-2, hidden_features=12)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Tiny models, 144 pictures."""
    return tiny_material(tmp_path_factory.mktemp("quality"))


def fedavg(mode: str, *, seed: int = 0) -> Cell:
    """A course of two rounds."""
    return Cell("topic", mode, FEDAVG, METHODS[FEDAVG], seed, RECIPE)


def test_held_out_drawings_are_one_of_each_concept(material: Material) -> None:
    """Every concept has one vendor's drawing held out and the others trained on, and seeds differ in which."""
    trained, judged = held_out(material.items, 0)

    assert sorted(trained + judged) == list(range(len(material.items)))
    assert sorted(material.items[index].caption for index in judged) == sorted({one.caption for one in material.items})
    assert held_out(material.items, 1) != (trained, judged)


@pytest.mark.parametrize("mode", ["multi_pass", "one_pass"])
def test_a_cell_repeats_to_the_bit(material: Material, mode: str) -> None:
    """The same cell gives the same losses to the last bit, another seed others; and training lowers the loss."""
    first, again = (computed(fedavg(mode), material) for _ in range(2))

    assert first == again
    assert first["losses"][-1] < first["losses"][0]
    if mode == "one_pass":
        assert first["losses"] != computed(fedavg(mode, seed=1), material)["losses"]


def test_a_kept_cell_is_not_computed_again(tmp_path: Path) -> None:
    """The same key reads what was written; another option in it is computed anew, beside it."""
    key = {"method": dataclasses.asdict(METHODS[FEDAVG]), "seed": 0}
    first = kept(key, "one cell", folder=tmp_path, compute=lambda: {"losses": [7.0]})

    assert kept(key, "one cell", folder=tmp_path, compute=lambda: {"losses": [8.0]}) == first
    assert first["losses"] == [7.0]
    changed = {**key, "method": dataclasses.asdict(dataclasses.replace(METHODS[FEDAVG], fedprox_mu=1.0))}
    assert kept(changed, "one cell", folder=tmp_path, compute=lambda: {"losses": [8.0]})["losses"] == [8.0]


def test_one_silo_s_federation_is_that_silo_training_on(material: Material) -> None:
    """FedAvg of one silo gives what the silo's own rounds, one after the other, give without any server."""
    trained, _ = held_out(material.items, 0)
    silo = silo_data(material, "lone", trained)
    federation = federation_of(material, RECIPE, "multi_pass", sizes=[len(trained)], seed=0)

    course = federate(material, [silo], METHODS[FEDAVG], federation=federation)

    projector = initial_projector(federation)
    for number in (1, 2):
        projector = train(
            material, silo, projector, plan=plan_of_round(federation, number), round_number=number
        ).tensors
    for name, values in projector.items():
        torch.testing.assert_close(course.projector[name], values, rtol=0, atol=1e-6)


def test_one_pass_uses_every_picture_once(material: Material) -> None:
    """Over all rounds of a one-pass course a silo trains on each of its pictures exactly once."""
    trained, _ = held_out(material.items, 0)
    silo = silo_data(material, "lone", trained)
    federation = federation_of(material, RECIPE, "one_pass", sizes=[len(trained)], seed=0)
    projector, cursor, seen = initial_projector(federation), "", 0
    for number in (1, 2, 3):
        plan = plan_of_round(federation, min(number, 2))
        result = train(material, silo, projector, plan=plan, round_number=number, cursor=cursor)
        cursor, seen = result.cursor, seen + result.num_examples

    assert seen == len(trained)
    assert result.num_examples == 0


def test_a_correction_is_added_to_the_gradient(material: Material) -> None:
    """SCAFFOLD's correction is exactly a shift of the gradient: less the gradient itself, one SGD step stands still."""
    trained, _ = held_out(material.items, 0)
    silo = silo_data(material, "lone", trained[:8])
    federation = federation_of(material, RECIPE, "multi_pass", sizes=[8], seed=0)
    plan = plan_of_round(federation, 1).model_copy(update={"optimizer": "sgd", "gradient_clip_norm": 0.0})
    projector = initial_projector(federation)
    opposite = {name: -values for name, values in full_gradient(material, silo, projector).items()}

    moved = train(material, silo, projector, plan=plan, round_number=1).tensors
    still = train(material, silo, projector, plan=plan, round_number=1, correction=opposite).tensors

    for name, values in projector.items():
        torch.testing.assert_close(still[name], values, rtol=0, atol=1e-6)
    assert any((moved[name] - values).abs().max() > 1e-4 for name, values in projector.items())


def test_the_report_tells_every_method_and_split(material: Material, tmp_path: Path) -> None:
    """The table has a column for each method and a row for each split and mode; JSON and plots are written."""
    recipe = dataclasses.replace(RECIPE, rounds=1)
    cells = cells_of(splits=["topic"], modes=["multi_pass"], methods=[FEDAVG, "scaffold"], seeds=[0], recipe=recipe)
    cells.append(Cell("vendor", "one_pass", FEDAVG, METHODS[FEDAVG], 0, recipe))
    alone = Cell("topic", "multi_pass", ALONE, METHODS[ALONE], 0, recipe)
    results: dict[Cell, Result] = {one: result_of(one, material, folder=tmp_path) for one in cells}
    results[alone] = result_of(alone, material, folder=tmp_path)

    text = report.report(results, opening="Tiny.")
    report.write(results, text, folder=tmp_path / "out", command="a test")
    plots.plot(results, folder=tmp_path / "out")

    assert "| split, mode | each silo alone | FedAvg | SCAFFOLD |" in text
    assert "| topic, multi_pass |" in text
    assert "| vendor, one_pass |" in text
    assert results[alone]["by_silo"].keys() == SPLITS["topic"](labels_of(material), range(144), seed=0).keys()
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "report.md", "results.json", "courses.png", "differences.png",
    }  # fmt: skip


def test_a_mean_falls_to_boosted_noise_and_a_median_stands(material: Material, tmp_path: Path) -> None:
    """At three of ten hostile silos Gauss does more harm to the mean than to the median, and the table says so."""
    known = defences()
    recipe = dataclasses.replace(RECIPE, rounds=1)
    sieges = [
        Siege(name, known[name], attack, number, 0, recipe)
        for name in ("mean", "median")
        for attack, number in (("none", 0), ("gauss", 3))
        if name == "mean" or number
    ]

    results = {one: siege_result(one, material, folder=tmp_path) for one in sieges}

    mean, median = (siege_report.ratio(results, ("gauss", 3), name) for name in ("mean", "median"))
    assert mean is not None
    assert median is not None
    assert median < mean
    assert "| Gauss | 30 % |" in siege_report.report(results, opening="Tiny.")


def test_poisoned_data_is_trained_on(material: Material, tmp_path: Path) -> None:
    """Attacks by data go through a federation, and a backdoor's success is a share."""
    recipe = dataclasses.replace(RECIPE, rounds=1, batch_size=16)
    for attack in (name for name, entry in ATTACKS.items() if entry.data != "own"):
        result = siege_result(Siege("mean", defences()["mean"], attack, 2, 0, recipe), material, folder=tmp_path)
        assert math.isfinite(result["losses"][-1])
        if attack == "backdoor":
            assert all(0.0 <= share <= 1.0 for share in result["hits"])
