"""The quality benchmark's tables tell what the cells hold: who is better, which rule fails, and what is missing."""

import dataclasses

from benchmarks.quality import report, siege_report
from benchmarks.quality.cells import Cell, Result
from benchmarks.quality.methods import FEDAVG, METHODS
from benchmarks.quality.siege import Siege, defences

SIEGE = Siege("mean", defences()["mean"], "none", 0, 0)


def results_of(losses: dict[str, list[float]]) -> dict[Cell, Result]:
    """Cells of the topic split: a method's last losses, seed by seed."""
    return {
        Cell("topic", "multi_pass", name, METHODS[name], seed): {"losses": [3.0, loss], "top1": 0.5, "top5": 0.75}
        for name, by_seed in losses.items()
        for seed, loss in enumerate(by_seed)
    }


def test_a_method_is_bold_where_every_seed_gains_alike() -> None:
    """A steady gain is bold, a steady loss italic, and what is within the seeds' spread is neither."""
    losses = {
        FEDAVG: [1.0, 2.0, 1.5],
        "fedavgm": [0.9, 1.9, 1.41],
        "diloco": [1.2, 2.2, 1.71],
        "fedadam": [0.9, 2.2, 1.4],
    }

    text = report.report(results_of(losses), opening="Made up.")

    assert "| 1.500 +/-0.500 | **1.403** +/-0.500 | 1.500 +/-0.656 | *1.703* +/-0.500 |" in text
    assert (
        "better than FedAvg: FedAvgM (-0.097 +/-0.014); worse: DiLoCo (+0.203 +/-0.014); better than FedAvgM: none."
        in text
    )


def test_a_method_is_compared_over_the_seeds_that_both_have() -> None:
    """A seed that one of the two lacks does not count, and a single one never makes a difference."""
    found = report.from_other(results_of({FEDAVG: [1.0, 2.0], "fedavgm": [0.5]}), ("topic", "multi_pass"), "fedavgm")

    assert found is not None
    assert found.mean == -0.5
    assert not found.is_better


def test_a_rule_fails_above_the_bar_or_where_nothing_is_learned() -> None:
    """A cell is told with its ratio to the clean mean and what of its learning is gone, and fails for either reason."""
    known = defences()
    hostile = {
        "mean": dataclasses.replace(SIEGE, attack="gauss", num_hostile=2),
        "median": Siege("median", known["median"], "gauss", 2, 0),
        "krum": Siege("krum", known["krum"], "gauss", 2, 0),
    }
    last = {"mean": 3.2, "median": 2.1, "krum": 2.4}
    results: dict[Siege, Result] = {
        SIEGE: {"losses": [2.4, 2.0]},
        **{hostile[name]: {"losses": [2.4, last[name]]} for name in hostile},
    }

    text = siege_report.report(results, opening="Made up.")

    assert "| Gauss | 20 % | **1.60**, 300% | 1.05, 25% | **1.20**, 100% |" in text
    assert "* mean fails under: Gauss at 20 %." in text.replace("gauss", "Gauss")
    assert "* median fails under: none of these." in text
    assert "untrained, which is 1.20" in text


def test_without_a_clean_mean_nothing_is_told() -> None:
    """Ratios need the mean without hostile silos of the same seed; without it there is none."""
    results: dict[Siege, Result] = {dataclasses.replace(SIEGE, seed=1): {"losses": [2.0, 1.0]}}

    assert siege_report.ratio(results, ("none", 0), "mean") == 1.0
    assert (
        siege_report.ratio(
            {dataclasses.replace(SIEGE, attack="alie", num_hostile=1): {"losses": [2.0, 1.0]}}, ("alie", 1), "mean"
        )
        is None
    )
