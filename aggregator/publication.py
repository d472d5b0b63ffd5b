"""From a roster to a visible global projector: what is read, what is stored, what the manifest says.

Everything here is a function of stored bytes, so replicas that race write the same.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from aggregator import masking
from aggregator.aggregate import Aggregated, RoundInputs, aggregate
from aggregator.blocks import Payload, open_payload
from aggregator.gate import Verdict, verdict_of
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Contribution, Roster
from aggregator.ledger.records import FederationRecord
from aggregator.masked_sums import MaskedRound, SumRefused
from aggregator.rules import entry_of
from aggregator.stores.aside import aside, clear
from isthmus.contribution import EPSILON_METRIC
from isthmus.errors import InvariantBroken, ScratchUnavailable
from isthmus.evaluation import PREFIX
from isthmus.manifest import ProjectorManifest

REVEALED = " Its silos revealed their seeds, so they take part in no other round from this projector."
"""What follows from a sum that did not open."""

At = Callable[[str], None]
"""Told of each point that a step reached."""


@dataclass(frozen=True, slots=True)
class Combining:
    """One roster to be combined.

    Attributes:
        federation: Whose, as it was created.
        number: Of the round.
        inputs: What its arithmetic reads.
        memory_budget_bytes: What the arithmetic may hold at once.
        projector_out: See `aggregator.aggregate.aggregate`; it has a `name`, under which another process may write it.
        state_out: Likewise.
    """

    federation: FederationRecord
    number: int
    inputs: RoundInputs
    memory_budget_bytes: int
    projector_out: BinaryIO
    state_out: BinaryIO


Combine = Callable[[Combining], Aggregated]
"""Writes what `aggregator.aggregate.aggregate` writes, bit for bit, wherever it computes it; and raises what that
raises, or an error after which the same roster may be combined again."""


def in_process(combining: Combining) -> Aggregated:
    """Combines here and now."""
    return aggregate(
        combining.inputs,
        combining.federation.federation.strategy,
        memory_budget_bytes=combining.memory_budget_bytes,
        projector_out=combining.projector_out,
        state_out=combining.state_out,
    )


def publish(
    ledger: Ledger,
    roster: Roster,
    *,
    memory_budget_bytes: int,
    scratch: Path,
    at: At,
    combine: Combine = in_process,
) -> ProjectorManifest:
    """Combines the roster, stores what comes out, then makes it visible; the manifest that stands.

    An abandoned roster is not combined: its projector is the one before it, under the next number. Nor is one whose
    silos flagged the projector that they started from: its projector is the one that was made from.

    Raises:
        StoreUnavailable, ScratchUnavailable, ConfigInvalid, InvariantBroken: As `aggregator.advance.advance`.
    """
    name = roster.federation
    record, base = ledger.federation(name), ledger.manifest(name, roster.round - 1)
    contributions = ledger.roster_contributions(roster)
    ledger.record_admissions(contributions)  # what is published is on record, even if every committer died
    aggregated, remark, verdict = None, "", verdict_of(ledger, roster, contributions)
    if record.federation.secure_aggregation:
        combine = in_process  # what it costs are the masks, not the deltas: no cluster is asked
    if not roster.abandoned and verdict.back_to is None:
        inputs = inputs_of(ledger, record, base, contributions=contributions)

        def combined(projector: BinaryIO, state: BinaryIO) -> Aggregated:
            return combine(Combining(record, roster.round, inputs, memory_budget_bytes, projector, state))

        try:
            aggregated = _stored(ledger, name, combined, scratch=scratch, at=at)
        except SumRefused as error:
            remark = str(error)
    at("blobs")
    manifest = manifest_of(
        record, base, roster, aggregated=aggregated, contributions=contributions, verdict=verdict, refused=remark
    )
    standing = ledger.publish(name, manifest)
    at("manifest")
    if not _is_same(standing, manifest):
        raise InvariantBroken(
            f"Federation {name}, round {roster.round}: this replica computed projector {manifest.digest.hex()} and "
            f"{standing.digest.hex()} stands. Replicas must run the same version on the same kind of machine."
        )
    return standing


def _is_same(standing: ProjectorManifest, computed: ProjectorManifest) -> bool:
    """Whether another replica may have made it of the same roster: where the rule has a tolerance, digests may differ.

    How far the values lie apart `isthmus verify` tells; here it would cost another pass over them.
    """
    if computed.tolerance:
        computed = replace(computed, digest=standing.digest, optimizer_state_digest=standing.optimizer_state_digest)
    return standing == computed


def _stored(
    ledger: Ledger, name: str, combined: Callable[[BinaryIO, BinaryIO], Aggregated], *, scratch: Path, at: At
) -> Aggregated:
    """The arithmetic, through files in the scratch folder into blobs."""
    try:
        clear(scratch)
        with aside(scratch) as projector, aside(scratch) as state:
            aggregated = combined(projector, state)
            at("combined")
            ledger.put_blob(name, Path(projector.name), digest=aggregated.projector.digest)
            if aggregated.state is not None:
                ledger.put_blob(name, Path(state.name), digest=aggregated.state.digest)
    except OSError as error:
        raise ScratchUnavailable(
            f"The scratch folder {scratch} failed ({error.strerror}). Make room in it, or name another one in "
            "`scratch`; until then no round is published by this replica.",
            retry_after_seconds=5.0,
        ) from error
    return aggregated


def inputs_of(
    ledger: Ledger, record: FederationRecord, base: ProjectorManifest, *, contributions: list[Contribution]
) -> RoundInputs:
    """What a round's arithmetic reads: the projector it starts from, and its contributions in roster order."""
    name, state = record.federation.name, base.optimizer_state_digest
    return RoundInputs(
        spec=record.spec,
        encoding=record.federation.encoding,
        projector=open_payload(ledger.blob(name, base.digest)),
        state=open_payload(ledger.blob(name, state)) if state else None,
        deltas=tuple(Payload(ledger.payload(one), one.data_start_bytes) for one in contributions),
        num_examples=tuple(one.header.num_examples for one in contributions),
        staleness=tuple(base.number + 1 - one.header.round for one in contributions),
        seed=hashlib.sha256(b"".join(one.header.payload_digest for one in contributions)).digest(),
        masked=_masked(ledger, record, contributions, number=base.number + 1),
    )


def _masked(
    ledger: Ledger, record: FederationRecord, contributions: list[Contribution], *, number: int
) -> MaskedRound | None:
    policy = record.federation.secure_aggregation
    if policy is None:
        return None
    total = masking.sum_of(ledger, contributions, federation=record.federation.name, number=number, policy=policy)
    return MaskedRound(total, policy.max_mean_l2_norm)


def manifest_of(
    record: FederationRecord,
    base: ProjectorManifest,
    roster: Roster,
    *,
    aggregated: Aggregated | None,
    contributions: list[Contribution],
    verdict: Verdict,
    refused: str = "",
) -> ProjectorManifest:
    """What is known of the projector that a roster gave: a function of its arguments, whoever computes it.

    `aggregated` is None for a roster that is not combined: then it is the projector before, or the one that the verdict
    goes back to, and nothing of its content changes. `refused` says why a sum was not taken though it was complete.
    """
    strategy, back_to = record.federation.strategy, verdict.back_to
    metrics = mean_metrics(contributions) | (verdict.summary.to_metrics() if verdict.summary else {})
    content = replace(back_to or base, rule="", server_optimizer="", tolerance=0.0)
    if aggregated is not None:
        state = aggregated.state
        content = replace(
            base,
            digest=aggregated.projector.digest,
            size_bytes=aggregated.projector.size_bytes,
            rule="+".join(choice.name for choice in (*strategy.pre_steps, strategy.rule)),
            server_optimizer=strategy.server_optimizer.name,
            optimizer_state_digest=state.digest if state else b"",
            optimizer_state_size_bytes=state.size_bytes if state else 0,
            tolerance=entry_of(strategy.rule.name).tolerance,
        )
    return replace(
        content,
        number=roster.round,
        cut_at=roster.cut_at,
        parent_digest=base.digest,
        roster_digest=roster.digest,
        silos=roster.silos,
        num_examples=sum(one.header.num_examples for one in contributions),
        metrics=dict(sorted(metrics.items())),  # as they are stored
        abandoned=roster.abandoned or bool(refused),
        reverted=back_to is not None,
        remark=_remark(roster, refused=refused) if record.federation.secure_aggregation else "",
    )


def _remark(roster: Roster, *, refused: str) -> str:
    """What everybody is told of a round with secure aggregation."""
    if refused:
        return f"{refused}{REVEALED}"
    if roster.abandoned:
        return roster.reason
    return (
        f"Secure aggregation, experimental: the sum of {len(roster.entries)} masked deltas was opened, and no single "
        "one. Malicious silos are not defended against: nobody sees what one silo added."
    )


def mean_metrics(contributions: list[Contribution]) -> dict[str, float]:
    """Means weighted by num_examples of the metrics that every contribution reports, summed in the order given.

    Of what is spent of privacy it is the most that any silo spent: a mean would promise too much.

    A mean that is out of a float's range is left out: a silo's report must not keep a round from being published.
    Evaluations are left out, too: they have a summary of their own.
    """
    reported = [{name for name in one.header.metrics if not name.startswith(PREFIX)} for one in contributions]
    weights = [one.header.num_examples for one in contributions]
    total = sum(weights)
    means = {}
    for name in sorted(set.intersection(*reported) if reported else ()):
        shares = (weight / total for weight in weights)
        mean = sum(share * one.header.metrics[name] for share, one in zip(shares, contributions, strict=True))
        if math.isfinite(mean):
            means[name] = mean
    if EPSILON_METRIC in means:
        means[EPSILON_METRIC] = max(one.header.metrics[EPSILON_METRIC] for one in contributions)
    return means
