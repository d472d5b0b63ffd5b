"""The outcomes side by side: a cell per input and system, tables in Markdown, and the sentence that sums it up."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.environments import version
from benchmarks.peers.inputs import HONEST, INPUTS, NUM_CLIENTS, Input
from benchmarks.peers.outcomes import Outcome, Verdict
from benchmarks.peers.systems import SYSTEMS, System

SEVERITY = (Verdict.REFUSED, Verdict.HARMLESS, Verdict.LOST, Verdict.SPOILED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One input at one system, over all orders: the worst verdict, and each different thing that came of it."""

    verdict: Verdict
    counted: bool
    told: tuple[str, ...]


def cell(outcomes: Sequence[Outcome], given: Input, system: System) -> Cell:
    """The cell of these two; worst first where the order of the messages decides."""
    mine = [one for one in outcomes if (one.input, one.system) == (given.name, system.name)]
    mine.sort(key=lambda one: SEVERITY.index(one.verdict), reverse=True)
    told = tuple(dict.fromkeys(text_of(one) for one in mine))
    return Cell(mine[0].verdict, any(one.counted for one in mine), told)


def text_of(outcome: Outcome) -> str:
    """What became of the global, or why the input was refused."""
    if outcome.verdict is Verdict.REFUSED and ":" in outcome.words:
        return outcome.words.partition(":")[0].split()[-1]
    return "round lost" if outcome.verdict is Verdict.LOST else outcome.harm


def taken(outcomes: Sequence[Outcome], *, peer: str) -> list[str]:
    """The hostile inputs that a system of this peer counted, in any order."""
    names = {system.name for system in SYSTEMS if system.peer == peer}
    counted = {one.input for one in outcomes if one.counted and one.system in names}
    return [given.name for given in INPUTS if given.is_hostile and given.name in counted]


def holds(outcomes: Sequence[Outcome]) -> bool:
    """Whether Isthmus counted no hostile input, kept the honest mean each time, and counted the honest client."""
    ours = [one for one in outcomes if one.system == "isthmus"]
    hostile = {given.name for given in INPUTS if given.is_hostile}
    refused = all(one.verdict is Verdict.REFUSED for one in ours if one.input in hostile)
    return refused and all(one.counted for one in ours if one.input == HONEST.name)


def sentence(outcomes: Sequence[Outcome]) -> str:
    """The result in one sentence."""
    total = sum(given.is_hostile for given in INPUTS)
    flower, nvflare, ours = (len(taken(outcomes, peer=peer)) for peer in ("flower", "nvflare", ""))
    return (
        f"Of {total} hostile inputs the default aggregation of {version('flower')} counts {flower} and that of "
        f"{version('nvflare')} {nvflare}; Isthmus counts {ours or 'none'}."
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """The matrix in Markdown."""
    titles = [system.title.replace("\n", " ") for system in SYSTEMS]
    lines = [f"| one of {NUM_CLIENTS} sends | battery | {' | '.join(titles)} |", "|---" * (2 + len(titles)) + "|"]
    for given in INPUTS:
        cells = [cell(outcomes, given, system) for system in SYSTEMS]
        told = " | ".join(f"{one.verdict}: {' or '.join(one.told)}".removesuffix(": round lost") for one in cells)
        lines.append(f"| {given.text} | {given.battery or '-'} | {told} |")
    return "\n".join(lines)


def details(outcomes: Sequence[Outcome]) -> str:
    """Every outcome, and what an operator reads of it, in Markdown."""
    lines = ["| system | input | bad one | verdict | the new global | words |", "|---|---|---|---|---|---|"]
    for one in outcomes:
        words = one.words.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {one.system} | {one.input} | {one.order} | {one.verdict} | {one.harm} | {words} |")
    return "\n".join(lines)
