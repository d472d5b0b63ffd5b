"""The attacks' table, in markdown and JSON: rules as columns, attacks and shares of hostile silos as rows."""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.attacks import ATTACKS
from benchmarks.quality.cells import CANDIDATES, Result
from benchmarks.quality.siege import NUM_SILOS, Siege

Results = Mapping[Siege, Result]

BEARABLE = 1.5
"""Largest ratio of the last held-out loss to that of the mean without hostile silos."""

Row = tuple[str, int]
"""An attack and a number of hostile silos."""


def ratio(results: Results, row: Row, defence: str) -> float | None:
    """The last loss over the mean's without hostile silos, seed by seed, averaged; None when one is missing."""
    return _averaged(results, row, defence, told=lambda loss, clean: loss / clean[-1])


def lost(results: Results, row: Row, defence: str) -> float | None:
    """Share of what the mean learns without hostile silos that is not learned; 1: nothing was, above: harm was done."""
    return _averaged(results, row, defence, told=lambda loss, clean: (loss - clean[-1]) / (clean[0] - clean[-1]))


def fails(results: Results, row: Row, defence: str) -> bool:
    """Whether the ratio is above BEARABLE, or nothing was learned at all."""
    found, share = ratio(results, row, defence), lost(results, row, defence)
    return found is not None and share is not None and (found > BEARABLE or share >= 1.0)


def untrained(results: Results) -> float:
    """The ratio of a projector that nobody trained."""
    clean = [result["losses"] for one, result in results.items() if _is(one, ("none", 0), "mean")]
    return statistics.fmean(losses[0] / losses[-1] for losses in clean) if clean else math.inf


def hits(results: Results, row: Row, defence: str) -> tuple[float, float] | None:
    """Mean shares of pictures that call for the target's caption, with the sticker and without; None of others."""
    found = [result["hits"] for one, result in results.items() if _is(one, row, defence) and "hits" in result]
    if not found:
        return None
    return statistics.fmean(pair[0] for pair in found), statistics.fmean(pair[1] for pair in found)


def rows_in(results: Results) -> list[Row]:
    """No attack first, then attack by attack."""
    there = {(one.attack, one.num_hostile) for one in results}
    order = ["none", *ATTACKS]
    return sorted(there, key=lambda row: (order.index(row[0]), row[1]))


def defences_in(results: Results) -> list[str]:
    """In the order they were run."""
    return list(dict.fromkeys(one.defence for one in results))


def report(results: Results, *, opening: str) -> str:
    """The table, and the cells that fail."""
    titles = {one.defence: one.method.title for one in results}
    names = defences_in(results)
    lines = [
        opening,
        "",
        "Last held-out loss over that of the mean without hostile silos; then the share of what that mean learns which "
        f"is not learned. Bold: the rule fails, above {BEARABLE} or no better than untrained, which is "
        f"{untrained(results):.2f}. In brackets, without attack and under the backdoor: shares of held-out pictures "
        f"that call for its caption more than for any of {CANDIDATES - 1} others, with the sticker and without.",
        "",
        f"| attack | hostile | {' | '.join(titles[name] for name in names)} |",
        f"|{' --- |' * (len(names) + 2)}",
    ]
    for attack, number in rows_in(results):
        cells = [_cell(results, (attack, number), name) for name in names]
        title = ATTACKS[attack].title if attack in ATTACKS else "none"
        lines.append(f"| {title} | {100 * number // NUM_SILOS} % | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_failing(results)])


def write(results: Results, text: str, *, folder: Path, command: str) -> None:
    """Writes attacks.md and attacks.json."""
    rows: list[dict[str, Any]] = [
        {
            "attack": row[0],
            "num_hostile": row[1],
            "num_silos": NUM_SILOS,
            "rule": name,
            "ratio": found,
            "lost": lost(results, row, name),
            "fails": fails(results, row, name),
            "hits": hits(results, row, name),
        }
        for row in rows_in(results)
        for name in defences_in(results)
        if (found := ratio(results, row, name)) is not None
    ]
    folder.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "rows": rows}
    (folder / "attacks.json").write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
    (folder / "attacks.md").write_text(text + "\n", encoding="utf-8")


def _is(one: Siege, row: Row, defence: str) -> bool:
    return (one.attack, one.num_hostile) == row and one.defence == defence


def _averaged(
    results: Results, row: Row, defence: str, *, told: Callable[[float, Sequence[float]], float]
) -> float | None:
    found = {one.seed: result["losses"][-1] for one, result in results.items() if _is(one, row, defence)}
    clean = {one.seed: result["losses"] for one, result in results.items() if _is(one, ("none", 0), "mean")}
    if not found or found.keys() - clean.keys():
        return None
    return statistics.fmean(told(loss, clean[seed]) for seed, loss in found.items())


def _cell(results: Results, row: Row, name: str) -> str:
    found, share, worked = ratio(results, row, name), lost(results, row, name), hits(results, row, name)
    if found is None or share is None:
        return ""
    mark = "**" if fails(results, row, name) else ""
    told = f"{mark}{found:.2f}{mark}, {share:.0%}"
    return told if worked is None else f"{told} ({worked[0]:.0%}, {worked[1]:.0%})"


def _failing(results: Results) -> list[str]:
    """One line per rule: where it fails."""
    lines = []
    for name in defences_in(results):
        failed = [
            f"{attack} at {100 * number // NUM_SILOS} %"
            for attack, number in rows_in(results)
            if fails(results, (attack, number), name)
        ]
        lines.append(f"* {name} fails under: {', '.join(failed) or 'none of these'}.")
    return lines
