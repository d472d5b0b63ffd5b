"""One step of a federation: `advance` cuts the open round when it is due and publishes the next global projector.

Any replica may call it at any time, any number of times, at once with others, and die anywhere in it. What decides is
create-only: the closing marker, then the roster, then the manifest. All after the roster is a pure function of stored
bytes, so whoever comes later, or twice, computes the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aggregator.aggregate import Aggregated, RoundInputs, aggregate
from aggregator.blocks import Payload, open_payload
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Closing, Contribution, Roster, RosterEntry
from aggregator.ledger.records import FederationRecord
from aggregator.rounds import RoundView, Wait, decide
from aggregator.rules import RULES
from aggregator.stores.aside import aside, clear
from isthmus.contribution import Receipt
from isthmus.errors import InvariantBroken, RoundClosed, StoreUnavailable
from isthmus.federation import FederationState
from isthmus.manifest import ProjectorManifest

POINTS = ("decided", "closing", "listed", "roster", "combined", "blobs", "manifest")
"""Where a step may die, in order; `advance` calls `at` with each name when that much is done."""

At = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The round stays open; see `aggregator.rounds.Wait`."""

    round: int
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Published:
    """The round was cut and its global projector is visible, by this step or by a racing one."""

    manifest: ProjectorManifest
    roster: Roster


@dataclass(frozen=True, slots=True)
class Paused:
    """The operator paused the federation, so its open round is not cut."""

    round: int


@dataclass(frozen=True, slots=True)
class Finished:
    """All rounds are published, or the operator finished the federation; it never advances again."""

    round: int


Outcome = Waiting | Published | Paused | Finished


def round_of(ledger: Ledger, federation: str) -> int:
    """The open round; after the last one, the number of rounds + 1."""
    return ledger.latest_number(federation) + 1


def state_of(ledger: Ledger, federation: str) -> FederationState:
    """Whether the federation goes on: as the operator wants it, and finished once all rounds are published."""
    if round_of(ledger, federation) > ledger.federation(federation).federation.rounds:
        return FederationState.FINISHED
    return ledger.state(federation)


def advance(
    ledger: Ledger,
    federation: str,
    *,
    now: datetime,
    memory_budget_bytes: int,
    scratch: Path,
    at: At = lambda point: None,
) -> Outcome:
    """Cuts the open round if it is due, or was left half cut by a replica that died, and publishes its projector.

    A cut that has begun is brought to its end whatever the operator asked for since.

    Args:
        ledger: Where everything stands.
        federation: Which federation.
        now: The clock.
        memory_budget_bytes: What the arithmetic may hold at once.
        scratch: An existing folder for the projector and the optimizer's state until they are stored. What a process
            that died in `advance` left there is removed.
        at: Told each of `POINTS` as it is reached.

    Raises:
        FederationUnknown: There is no such federation.
        StoreUnavailable: The store or the scratch folder failed; call again.
        ConfigInvalid: The memory budget is too small for the roster.
        InvariantBroken: Stored bytes contradict each other, or replicas disagree about what they compute.
    """
    record = ledger.federation(federation)
    number = round_of(ledger, federation)
    if number > record.federation.rounds:
        return Finished(number)
    closing = ledger.closing(federation, number)
    if closing is None:
        state = ledger.state(federation)
        if state is not FederationState.RUNNING:
            return Paused(number) if state is FederationState.PAUSED else Finished(number)
        decision = decide(view_of(ledger, federation, number), record.federation.participation, now=now)
        if isinstance(decision, Wait):
            return Waiting(number, decision.reason, decision.until)
        at("decided")
        closing = ledger.mark_closing(federation, Closing(round=number, reason=decision.reason, cut_at=now))
    at("closing")
    roster = cut(ledger, federation, closing, at=at)
    manifest = _publish(ledger, record, roster, memory_budget_bytes=memory_budget_bytes, scratch=scratch, at=at)
    for swept in (number - 1, number):  # the earlier one again: its publisher may have died before it swept
        ledger.sweep_uploads(federation, swept)
    return Published(manifest, roster)


def view_of(ledger: Ledger, federation: str, number: int) -> RoundView:
    """The open round as `rounds.decide` wants it: four listings, and a record for each silo that was refused."""
    contributed = ledger.contributors(federation, number)
    troubled = set(ledger.recorded_silos(federation, number)) - set(contributed)
    return RoundView(
        number=number,
        opened_at=ledger.manifest(federation, number - 1).cut_at,
        contributed=contributed,
        active_silos=ledger.active_silos(federation),
        refused=tuple(silo for silo in sorted(troubled) if ledger.last_refusal(federation, number, silo)),
    )


def cut(ledger: Ledger, federation: str, closing: Closing, *, at: At = lambda point: None) -> Roster:
    """Fixes the roster of a round whose closing marker stands; the roster that stands.

    The listing comes after the marker: who committed a contribution and saw no marker is in it.
    """
    standing = ledger.roster(federation, closing.round)
    if standing is None:
        contributions = ledger.contributions(federation, closing.round)
        at("listed")
        entries = tuple(RosterEntry(one.silo, one.digest) for one in contributions)
        standing = ledger.fix_roster(Roster(federation, closing.round, entries, closing.reason, closing.cut_at))
    at("roster")
    return standing


def counted(ledger: Ledger, contribution: Contribution) -> Receipt:
    """The receipt of a committed contribution that is, or will be, in its round's roster.

    No closing marker after the commit: whoever lists later finds the contribution, so it counts. With the marker, the
    roster answers; where it is not fixed yet, this call fixes it (as any replica may) instead of waiting for one that
    may have died.

    Raises:
        RoundClosed: The roster left it out; details["currentRound"] is the round to go on with.
    """
    federation, number = contribution.header.federation, contribution.header.round
    closing = ledger.closing(federation, number)
    if closing is None:
        return contribution.receipt
    roster = cut(ledger, federation, closing)
    if RosterEntry(contribution.silo, contribution.digest) not in roster.entries:
        raise RoundClosed(
            f"Round {number} of federation {federation} was cut before the delta of silo {contribution.silo} was "
            "counted. Pull the current projector and train again.",
            currentRound=max(number + 1, round_of(ledger, federation)),
        )
    return contribution.receipt


def _publish(
    ledger: Ledger, record: FederationRecord, roster: Roster, *, memory_budget_bytes: int, scratch: Path, at: At
) -> ProjectorManifest:
    """Combines the roster, stores what comes out, then makes it visible; the manifest that stands."""
    name = roster.federation
    base = ledger.manifest(name, roster.round - 1)
    contributions = ledger.roster_contributions(roster)
    ledger.record_admissions(contributions)  # what is published is on record, even if every committer died
    inputs = inputs_of(ledger, record, base, contributions=contributions)
    try:
        clear(scratch)
        with aside(scratch) as projector, aside(scratch) as state:
            aggregated = aggregate(
                inputs,
                record.federation.strategy,
                memory_budget_bytes=memory_budget_bytes,
                projector_out=projector,
                state_out=state,
            )
            at("combined")
            ledger.put_blob(name, Path(projector.name))
            if aggregated.state is not None:
                ledger.put_blob(name, Path(state.name))
    except OSError as error:
        raise StoreUnavailable(
            f"The scratch folder {scratch} failed ({error.strerror}). Make room in it, or name another one.",
            retry_after_seconds=5.0,
        ) from error
    at("blobs")
    manifest = manifest_of(record, base, roster, aggregated=aggregated, contributions=contributions)
    standing = ledger.publish(name, manifest)
    at("manifest")
    if standing != manifest:
        raise InvariantBroken(
            f"Federation {name}, round {roster.round}: this replica computed projector {manifest.digest.hex()} and "
            f"{standing.digest.hex()} stands. Replicas must run the same version on the same kind of machine."
        )
    return standing


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
    )


def manifest_of(
    record: FederationRecord,
    base: ProjectorManifest,
    roster: Roster,
    *,
    aggregated: Aggregated,
    contributions: list[Contribution],
) -> ProjectorManifest:
    """What is known of the projector that a roster gave: a function of its arguments, whoever computes it."""
    strategy = record.federation.strategy
    return ProjectorManifest(
        number=roster.round,
        digest=aggregated.projector.digest,
        size_bytes=aggregated.projector.size_bytes,
        cut_at=roster.cut_at,
        parent_digest=base.digest,
        roster_digest=roster.digest,
        rule=strategy.rule.name,
        server_optimizer=strategy.server_optimizer.name,
        optimizer_state_digest=aggregated.state.digest if aggregated.state else b"",
        optimizer_state_size_bytes=aggregated.state.size_bytes if aggregated.state else 0,
        silos=roster.silos,
        num_examples=sum(one.header.num_examples for one in contributions),
        metrics=mean_metrics(contributions),
        tolerance=RULES[strategy.rule.name].tolerance,
    )


def mean_metrics(contributions: list[Contribution]) -> dict[str, float]:
    """Means weighted by num_examples of the metrics that every contribution reports, summed in the order given.

    A mean that is out of a float's range is left out: a silo's report must not keep a round from being published.
    """
    reported = [set(one.header.metrics) for one in contributions]
    weights = [one.header.num_examples for one in contributions]
    means = {}
    for name in sorted(set.intersection(*reported) if reported else ()):
        shares = (weight / sum(weights) for weight in weights)
        mean = sum(share * one.header.metrics[name] for share, one in zip(shares, contributions, strict=True))
        if math.isfinite(mean):
            means[name] = mean
    return means
