"""The verbs about federations: create, list, status, lineage, pause, resume, finish."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from isthmus import evaluation
from isthmus.cli.client import UsageProblem, connect, federation_of
from isthmus.cli.text import Answer, cell, counted, instant, pairs, size, table
from isthmus.errors import ConfigInvalid
from isthmus.federation import FederationState, parse_federation
from isthmus.manifest import ProjectorManifest
from isthmus.overview import FederationOverview, SiloStatus
from isthmus.uploads import chunks_of_parts


def create(arguments: Namespace) -> Answer:
    """Creates a federation; everything that can be checked here is checked before the aggregator is called."""
    toml = read_text(arguments.file)
    federation = parse_federation(toml)

    from isthmus.projectors.initial import initial_projector  # torch takes seconds to load; only this verb needs it

    spec, payload = initial_projector(federation, file=arguments.projector, model_config=arguments.model_config)
    with connect(arguments) as client:
        _, created = client.create(
            toml, digest=payload.digest, size_bytes=payload.size_bytes, chunks=chunks_of_parts(payload.parts)
        )
    data = {
        "federation": federation.name,
        "created": created,
        "projector_digest": payload.digest,
        "size_bytes": payload.size_bytes,
        "spec_fingerprint": spec.fingerprint,
        "num_tensors": len(spec.tensors),
        "num_values": spec.num_elements,
    }
    done = "Created" if created else "There is already, with the same content,"
    return Answer(
        data,
        f"{done} federation {federation.name}: {counted(len(spec.tensors), 'tensor')}, "
        f"{counted(spec.num_elements, 'value')}, {size(payload.size_bytes)}, sha256 {cell(payload.digest)}.",
    )


def list_all(arguments: Namespace) -> Answer:
    """Lists federations."""
    with connect(arguments) as client:
        summaries = client.federations()
    if not summaries:
        return Answer(
            {"federations": []}, "There is no federation yet; create one with: isthmus create FEDERATION.toml"
        )
    rows = [(s.federation, s.state, f"{min(s.round, s.num_rounds)} of {s.num_rounds}", s.num_silos) for s in summaries]
    return Answer({"federations": summaries}, table(("FEDERATION", "STATE", "ROUND", "SILOS"), rows))


def status(arguments: Namespace) -> Answer:
    """Tells a federation's present: the round, its silos, who is waited for and why."""
    with connect(arguments) as client:
        overview = client.overview(federation_of(client, arguments))
    data = {field.name: getattr(overview, field.name) for field in fields(overview)}
    return Answer(data | {"spec_fingerprint": overview.spec.fingerprint}, overview_text(overview))


def lineage(arguments: Namespace) -> Answer:
    """Lists all global projectors, the initial one first."""
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        manifests = client.lineage(name)
    names = {metric for manifest in manifests for metric in manifest.metrics}
    metrics = sorted(name for name in names if not name.startswith(evaluation.PREFIX))
    header = (
        "PROJECTOR",
        "DIGEST",
        "PARENT",
        "CUT AT",
        "RULE",
        "OPTIMIZER",
        "EXAMPLES",
        *map(str.upper, metrics),
        "HELD-OUT LOSS",
        "SILOS",
    )
    losses = {manifest.number - 1: evaluation.summary_in(manifest.metrics) for manifest in manifests}
    rows = [_lineage_row(manifest, metrics, held_out=losses.get(manifest.number)) for manifest in manifests]
    return Answer(
        {"federation": name, "projectors": manifests}, "\n".join([table(header, rows), *remark_lines(manifests)])
    )


def set_state(arguments: Namespace) -> Answer:
    """Pauses, resumes or finishes a federation.

    Raises:
        UsageProblem: It is to be finished, which is final, and is not named.
    """
    state: FederationState = arguments.state
    if state is FederationState.FINISHED and not arguments.federation:
        raise UsageProblem("What is finished never goes on: name the federation with --federation.")
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        client.set_state(name, state, reason=arguments.reason)
    return Answer({"federation": name, "state": state}, f"Federation {name} is {state.value}.")


def overview_text(overview: FederationOverview) -> str:
    """A federation's present for people."""
    text = pairs(_present(overview))
    return f"{text}\n\n{silo_table(overview.silos)}" if overview.silos else text


def silo_table(silos: tuple[SiloStatus, ...]) -> str:
    """One line a silo, and why its last push was refused, if it was."""
    rows = [
        (
            silo.silo,
            _standing(silo),
            silo.num_contributions,
            silo.waited_for_since,
            silo.receipt and silo.receipt.admitted_at,
            silo.receipt and silo.receipt.num_examples,
            silo.receipt and silo.receipt.l2_norm,
        )
        for silo in silos
    ]
    lines = [table(("SILO", "STATE", "ROUNDS", "WAITED FOR SINCE", "CONTRIBUTED AT", "EXAMPLES", "L2 NORM"), rows)]
    lines += [
        f"\nToo many payloads of {silo.silo} were refused, so it is quarantined. Once it is clear why: "
        f"isthmus silo release {silo.silo}"
        for silo in silos
        if silo.quarantined
    ]
    lines += [f"\nThe last push of {silo.silo} was refused: {silo.last_refusal}" for silo in silos if silo.last_refusal]
    return "\n".join(lines)


def _standing(silo: SiloStatus) -> str:
    if not silo.active:
        return "revoked"
    return "quarantined" if silo.quarantined else "active"


def read_text(file: Path) -> str:
    """The text of a file that the user named.

    Raises:
        ConfigInvalid: It cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{file} is no UTF-8 text.") from error


def _present(overview: FederationOverview) -> list[tuple[str, str]]:
    summary, latest = overview.summary, overview.latest
    finished = summary.state is FederationState.FINISHED
    opened = "" if finished else f", open since {instant(overview.opened_at)}"
    rows = [
        ("federation", f"{summary.federation}, {summary.state.value}"),
        ("round", f"{min(summary.round, summary.num_rounds)} of {summary.num_rounds}{opened}"),
        ("deadline", _deadline(overview)),
        ("contributions", _contributions(overview)),
        ("waiting for", overview.waiting_for or "nothing"),
        ("trouble", overview.trouble),
        ("abandoned", _rounds(overview.abandoned_rounds, overview.num_abandoned_rounds)),
        ("reverted", _rounds(overview.reverted_rounds, overview.num_reverted_rounds)),
        ("projector", f"{latest.number}, sha256 {cell(latest.digest)}, {size(latest.size_bytes)}"),
        ("remark", latest.remark),
        ("held-out loss", _held_out(latest)),
        ("spec", f"{counted(len(overview.spec.tensors), 'tensor')}, {counted(overview.spec.num_elements, 'value')}"),
        ("silos", f"{summary.num_silos} active"),
    ]
    hidden = {"deadline", "contributions"} if finished else set()
    return [(name, text) for name, text in rows if text and name not in hidden]


def _deadline(overview: FederationOverview) -> str:
    if overview.deadline is None:
        return "none"
    return instant(overview.deadline) + (" (passed; the quorum is not there)" if overview.overdue else "")


def _contributions(overview: FederationOverview) -> str:
    if overview.max_staleness:
        behind = counted(overview.max_staleness, "round")
        return f"{overview.num_contributions} of the {overview.quorum} that fill the buffer, up to {behind} behind"
    return f"{overview.num_contributions}, quorum {overview.quorum}"


def _rounds(newest: tuple[int, ...], number: int) -> str:
    """Which rounds they are, the newest of many; empty when there is none."""
    text = ", ".join(map(str, newest))
    if number > len(newest):
        return f"{counted(number, 'round')}, the newest {text}"
    return f"{'rounds' if len(newest) > 1 else 'round'} {text}" if newest else ""


def _held_out(latest: ProjectorManifest) -> str:
    """What the silos of the newest published round found, and of which projector; empty where none evaluated it."""
    found = evaluation.summary_in(latest.metrics)
    if found is None:
        return ""
    return (
        f"of projector {latest.number - 1}: median {found.median:.4g} (quartiles {found.q1:.4g} to {found.q3:.4g}), "
        f"mean {found.mean:.4g}, as {counted(found.num_silos, 'silo')} found it in round {latest.number}"
    )


def _lineage_row(
    manifest: ProjectorManifest, metrics: list[str], *, held_out: evaluation.Summary | None
) -> tuple[object, ...]:
    """One projector; `held_out` is what the silos of the round after it found."""
    return (
        manifest.number,
        manifest.digest,
        manifest.parent_digest,
        manifest.cut_at,
        _made_by(manifest),
        manifest.server_optimizer,
        manifest.num_examples or None,
        *(manifest.metrics.get(metric) for metric in metrics),
        held_out and f"{held_out.median:.4g} ({held_out.q1:.4g} to {held_out.q3:.4g})",
        " ".join(manifest.silos),
    )


def remark_lines(manifests: Sequence[ProjectorManifest]) -> list[str]:
    """What is to be known of projectors beyond the table, each remark once, in the order of the first that has it."""
    numbers: dict[str, list[int]] = {}
    for manifest in manifests:
        if manifest.remark:
            numbers.setdefault(manifest.remark, []).append(manifest.number)
    return [f"\n{_named(found)}: {remark}" for remark, found in numbers.items()]


def _named(numbers: Sequence[int]) -> str:
    """Projectors by number, ascending; those that follow each other from the first to the last."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    words = ", ".join(" to ".join(map(str, span)) for span in spans)
    return f"{'Projectors' if len(numbers) > 1 else 'Projector'} {words}"


def _made_by(manifest: ProjectorManifest) -> str:
    if manifest.abandoned:
        return "abandoned"
    return "reverted" if manifest.reverted else manifest.rule
