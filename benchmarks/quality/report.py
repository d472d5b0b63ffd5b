"""The comparison's tables, in markdown and JSON: methods as columns, splits as rows."""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.cells import Cell, Result
from benchmarks.quality.methods import ALONE, FEDAVG, FEDAVGM, METHODS, POOLED
from benchmarks.quality.spread import Difference, difference, rounds_to, spread

Results = Mapping[Cell, Result]

Setting = tuple[str, str]
"""A split and a mode: one row."""


def settings_in(results: Results) -> list[Setting]:
    """The rows, in the order they were asked for."""
    return list(dict.fromkeys((cell.split, cell.mode) for cell in results))


def methods_in(results: Results) -> list[str]:
    """The columns, in the order of METHODS."""
    there = {cell.name for cell in results}
    return [name for name in METHODS if name in there]


def of(results: Results, setting: Setting, name: str) -> dict[int, Result]:
    """A column's results in a row, by seed, ascending."""
    found = [
        (cell.seed, result)
        for cell, result in results.items()
        if ((cell.split, cell.mode), cell.name) == (setting, name)
    ]
    return dict(sorted(found, key=lambda pair: pair[0]))


def finals(results: Results, setting: Setting, name: str) -> dict[int, float]:
    """Last held-out losses, by seed."""
    return {seed: result["losses"][-1] for seed, result in of(results, setting, name).items()}


def from_other(results: Results, setting: Setting, name: str, *, other: str = FEDAVG) -> Difference | None:
    """How far a method's last losses lie from another's, over the seeds that both were run on; None without any."""
    ours, theirs = finals(results, setting, name), finals(results, setting, other)
    both = [seed for seed in ours if seed in theirs]
    if name == other or not both:
        return None
    return difference([ours[seed] for seed in both], [theirs[seed] for seed in both])


def report(results: Results, *, opening: str) -> str:
    """All tables and what they say, as markdown."""
    names = methods_in(results)
    parts = [
        opening,
        "Held-out loss, nats per caption token, mean and standard deviation over the seeds. Bold: better than FedAvg "
        "beyond the seeds' spread (95 % interval of the paired difference); italic: worse.",
        _table(results, names, _loss),
        "Retrieval, top-1 / top-5 of 20 captions, percent.",
        _table(results, names, _retrieval),
        "Rounds to FedAvg's last loss of the same seed (median; -: most seeds never got there).",
        _table(results, [name for name in names if name not in (ALONE, POOLED)], _rounds),
        "\n".join(verdicts(results)),
    ]
    return "\n\n".join(parts)


def verdicts(results: Results) -> list[str]:
    """One line per setting: who beats FedAvg, who falls behind it, and who beats FedAvgM, beyond the seeds' spread."""
    lines = []
    for setting in settings_in(results):
        apart, beside_momentum = (_differences(results, setting, other) for other in (FEDAVG, FEDAVGM))
        told = {
            "better than FedAvg": [_told(name, one) for name, one in apart.items() if one.is_better],
            "worse": [_told(name, one) for name, one in apart.items() if one.is_worse],
        }
        if beside_momentum:
            better = [_told(name, one) for name, one in beside_momentum.items() if one.is_better]
            told["better than FedAvgM"] = better
        words = [f"{key}: {', '.join(who) or 'none'}" for key, who in told.items()]
        lines.append(f"* {' '.join(setting)}: {'; '.join(words)}.")
    return lines


def _differences(results: Results, setting: Setting, other: str) -> dict[str, Difference]:
    """Of every federated method from this one."""
    return {
        name: found
        for name in methods_in(results)
        if name not in (ALONE, POOLED) and (found := from_other(results, setting, name, other=other))
    }


def write(results: Results, text: str, *, folder: Path, command: str) -> None:
    """Writes report.md and results.json."""
    rows: list[dict[str, Any]] = []
    for setting in settings_in(results):
        for name in methods_in(results):
            found, apart = of(results, setting, name), from_other(results, setting, name)
            if not found:
                continue
            loss = spread(list(finals(results, setting, name).values()))
            rows.append(
                {
                    "split": setting[0],
                    "mode": setting[1],
                    "method": name,
                    "loss": loss.mean,
                    "loss_sd": loss.sd,
                    "from_fedavg": apart.mean if apart else None,
                    "from_fedavg_half_95": apart.half if apart and math.isfinite(apart.half) else None,
                    "top1": statistics.fmean(result["top1"] for result in found.values()),
                    "top5": statistics.fmean(result["top5"] for result in found.values()),
                    "rounds_to_fedavg": _rounds(results, setting, name),
                    "losses": {seed: result["losses"] for seed, result in found.items()},
                }
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(
        json.dumps({"command": command, "rows": rows}, indent=1) + "\n", encoding="ascii"
    )
    (folder / "report.md").write_text(text + "\n", encoding="utf-8")


def _table(results: Results, names: Sequence[str], cell: Callable[..., str]) -> str:
    head = ["split, mode", *(METHODS[name].title for name in names)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for setting in settings_in(results):
        row = [cell(results, setting, name) if of(results, setting, name) else "" for name in names]
        lines.append(f"| {' | '.join([', '.join(setting), *row])} |")
    return "\n".join(lines)


def _loss(results: Results, setting: Setting, name: str) -> str:
    mean, sd = spread(list(finals(results, setting, name).values()))
    apart = from_other(results, setting, name)
    mark = "**" if apart and apart.is_better else "*" if apart and apart.is_worse else ""
    seeds = len(of(results, setting, name))
    return f"{mark}{mean:.3f}{mark} " + (f"+/-{sd:.3f}" if seeds > 1 else "(1 seed)")


def _retrieval(results: Results, setting: Setting, name: str) -> str:
    found = of(results, setting, name)
    top1, top5 = (100 * statistics.fmean(result[key] for result in found.values()) for key in ("top1", "top5"))
    return f"{top1:.0f} / {top5:.0f}"


def _rounds(results: Results, setting: Setting, name: str) -> str:
    targets = finals(results, setting, FEDAVG)
    found = of(results, setting, name)
    if name in (ALONE, POOLED) or not found.keys() & targets.keys():
        return ""
    taken = [rounds_to(result["losses"], targets[seed]) for seed, result in found.items() if seed in targets]
    median = statistics.median_low([math.inf if one is None else one for one in taken])
    return "-" if math.isinf(median) else f"{median:.0f}"


def _told(name: str, apart: Difference) -> str:
    return f"{METHODS[name].title} ({apart.mean:+.3f} +/-{apart.half:.3f})"
