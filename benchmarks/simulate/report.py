"""Writes what was measured and modelled: results.json, report.md, scale.png, in one folder."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from benchmarks.simulate.costs import FAR, LIMITING, PHASES, WAITING_POLLS, Cost, bottleneck, costs, round_cpu
from benchmarks.simulate.measured import Row
from benchmarks.simulate.plot import plot
from benchmarks.simulate.run import WIDTHS

_WIDTH = 118


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured, with which command, and where in words."""

    command: str
    machine: str
    rows: Sequence[Row]


def load(folder: Path) -> Results:
    """What `write` wrote there."""
    found = json.loads((folder / "results.json").read_text(encoding="ascii"))
    return Results(**found | {"rows": [Row(**one) for one in found["rows"]]})


def write(results: Results, *, folder: Path) -> str:
    """Writes all of them; the report's text."""
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(dataclasses.asdict(results), indent=1)
    (folder / "results.json").write_text(document + "\n", encoding="ascii")
    text = report(results)
    (folder / "report.md").write_text(text + "\n", encoding="ascii")
    if len(results.rows) > 1:
        plot(results.rows, costs(results.rows), file=folder / "scale.png")
    return text


def report(results: Results) -> str:
    """The tables, and what they say."""
    rows, command = results.rows, results.command
    first = rows[0]
    replicas = "one replica" if first.replicas == 1 else f"{first.replicas} replicas"
    parts = [
        fill(
            f"`{command}`: {replicas} over one folder store, mutual TLS {'on' if first.mtls else 'off'}; a projector "
            f"of {'-'.join(map(str, WIDTHS))}; {first.rounds} rounds, each with all silos. A silo is the SDK's "
            "client with its own keys, certificate and connection, in a thread of one of a few processes; its training "
            "is a seeded step. Phases are apart: nobody pulls before all know of the round, nobody pushes before all "
            "have pulled. "
            f"Silos and replicas share the machine. {results.machine}.",
            width=_WIDTH,
        ),
        "",
        measured_table(rows),
        "",
        f"Failures: {sum(sum(row.failures.values()) for row in rows)}. {turned_away(rows)}",
    ]
    if len(rows) > 1:
        found = costs(rows)
        parts += [
            "",
            model_table(found, largest=max(row.silos for row in rows)),
            "",
            fill(conclusion(found), width=_WIDTH),
        ]
    return "\n".join(parts)


def summary(results: Results) -> str:
    """What a reader needs of it: the costs that limit, and the bottleneck."""
    found, rows = costs(results.rows), results.rows
    limiting = {name: found[name] for name in LIMITING}
    table = model_table(limiting, largest=max(row.silos for row in rows))
    return f"{table}\n\n{fill(conclusion(found), width=_WIDTH)}\n\n{results.machine}."


def measured_table(rows: Sequence[Row]) -> str:
    """One column for each number of silos."""
    lines: list[tuple[str, list[str]]] = [
        ("silos", [f"{row.silos:,}" for row in rows]),
        ("enrolment of all: s, CPU s", [f"{row.enrol_seconds:.1f}, {row.enrol_cpu:.1f}" for row in rows]),
        ("an invitation, p50 / p99 ms", [_ms(row.invitations) for row in rows]),
        ("an enrolment, p50 / p99 ms", [_ms(row.enrolments) for row in rows]),
        ("pull of all: s, CPU s", [f"{row.pull_seconds:.1f}, {row.pull_cpu:.1f}" for row in rows]),
        ("a pull, p50 / p99 s", [_s(row.pulls) for row in rows]),
        (
            "push of all: s, CPU s (cut and publication too)",
            [f"{row.push_seconds:.1f}, {row.push_cpu:.1f}" for row in rows],
        ),
        ("a push, p50 / p99 s", [_s(row.pushes) for row in rows]),
        ("cut, s", [f"{row.cut_seconds:.2f}" for row in rows]),
        ("publication, s", [f"{row.publish_seconds:.2f}" for row in rows]),
        ("notice until all know: s, CPU s", [f"{row.notice_seconds:.1f}, {row.notice_cpu:.1f}" for row in rows]),
        ("calls in a round; a second", [f"{row.calls[0]:,.0f}; {row.calls[1]:,.0f}" for row in rows]),
        ("reads, writes, listings in a round", [_verbs(row) for row in rows]),
        ("keys listed in a round", [f"{row.verbs.get('listed', 0):,.0f}" for row in rows]),
        (
            "objects: of a round; of a silo's enrolment",
            [f"{row.objects[0]:,.0f}; {row.objects[1]:.0f}" for row in rows],
        ),
        ("a replica's peak MiB", [f"{row.peak_mib:.0f}" for row in rows]),
        ("its descriptors, threads", [f"{row.descriptors:,}, {row.threads:,}" for row in rows]),
        ("an operator's status: s, kB", [f"{row.status_seconds:.2f}, {row.status_bytes / 1e3:.0f}" for row in rows]),
    ]
    head, *body = ["| " + " | ".join([name, *cells]) + " |" for name, cells in lines]
    return "\n".join([head, "|---" * (len(rows) + 1) + "|", *body])


def model_table(found: dict[str, Cost], *, largest: int) -> str:
    """Each cost's terms, how far they are off, and what they say; of very many also what a straight line says."""
    head = (
        f"| cost | model, N silos | largest residual | {largest:,} foretold by the smaller | measured | error "
        f"| {FAR:,} |\n|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(_model_row(cost) for cost in found.values())])


def conclusion(found: dict[str, Cost]) -> str:
    """What limits a round of very many silos, in words."""
    (least, most), phase = round_cpu(found), bottleneck(found)
    polls = math.ceil(FAR / WAITING_POLLS)
    shares = ", ".join(f"{name.partition(',')[0]} {_far(found[name])} s" for name in PHASES)
    return (
        f"A round of {FAR:,} silos would take {least:,.0f} to {most:,.0f} s of the replicas' CPU, the first if all "
        f"costs go on straight, the second with every square that fits ({shares}). One replica lets "
        f"{WAITING_POLLS:,} polls wait at most, so it is spread over {polls} or more. A replica is one Python process "
        f"and uses little more than one core: with {polls} a round takes {least / polls:,.0f} to {most / polls:,.0f} s "
        f'at least. The bottleneck is the replicas\' CPU in the phase "{phase.removesuffix(", CPU s")}".'
    )


def turned_away(rows: Sequence[Row]) -> str:
    """Calls that the SDK repeated, by reason, in all runs."""
    total: Counter[str] = Counter()
    for row in rows:
        for reason, count in row.turned_away.items():
            total[reason.partition(" Tried")[0]] += count
    if not total:
        return "No call was turned away."
    return "Turned away, and repeated by the SDK: " + "; ".join(
        f"{count:,} x {why}" for why, count in total.most_common()
    )


def _model_row(cost: Cost) -> str:
    model, measured = cost.model, cost.points[-1][1]
    terms = [(model.constant, ""), (model.linear, " N"), (model.quadratic, " N^2")]
    text = " + ".join(f"{value:.3g}{power}" for value, power in terms if value) or "0"
    foretold = "" if cost.foretold is None else _figure(cost.foretold)
    error = "" if cost.error is None else f"{cost.error:+.0%}"
    return f"| {cost.name} | {text} | {cost.worst:+.0%} | {foretold} | {_figure(measured)} | {error} | {_far(cost)} |"


def _far(cost: Cost) -> str:
    """What is said of very many: straight, and with the square where one fits."""
    straight, model = cost.straight.at(FAR), cost.model.at(FAR)
    return _figure(straight) if model <= 1.01 * straight else f"{_figure(straight)} to {_figure(model)}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ms(values: tuple[float, float]) -> str:
    return f"{1e3 * values[0]:.0f} / {1e3 * values[1]:.0f}"


def _s(values: tuple[float, float]) -> str:
    return f"{values[0]:.2f} / {values[1]:.2f}"


def _verbs(row: Row) -> str:
    return f"{row.verbs.get('get', 0):,.0f}, {row.writes:,.0f}, {row.verbs.get('list', 0):,.0f}"
