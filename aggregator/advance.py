"""One step of a federation: `advance` cuts the open round when it is due and publishes the next global projector.

Any replica may call it at any time, any number of times, at once with others, and die anywhere in it. What decides is
create-only: the closing marker, then the roster, then the manifest. All after the roster is a pure function of stored
bytes, so whoever comes later, or twice, computes the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from aggregator import masking
from aggregator.ledger import Ledger, strikes
from aggregator.ledger.documents import Closing, Contribution, Roster, RosterEntry
from aggregator.publication import At, Combine, in_process, publish
from aggregator.rounds import Cut, RoundView, Wait, decide, reason_of_cut
from isthmus.contribution import Receipt
from isthmus.errors import IsthmusError, RoundClosed
from isthmus.federation import Federation, FederationState
from isthmus.manifest import ProjectorManifest

POINTS = ("decided", "closing", "listed", "roster", "combined", "blobs", "manifest")
"""Where a step may die, in order; `advance` calls `at` with each name when that much is done."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The round stays open; see `aggregator.rounds.Wait`."""

    round: int
    reason: str
    until: datetime | None
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """The round was cut and its global projector is visible, by this step or by a racing one.

    `unswept` says why what the round's end makes needless could not be deleted; empty when it was. A later round's end,
    or housekeeping, deletes it.
    """

    manifest: ProjectorManifest
    roster: Roster
    unswept: str = ""


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
    combine: Combine = in_process,
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
        combine: Where the arithmetic is done.

    Raises:
        FederationUnknown: There is no such federation.
        StoreUnavailable: The store failed; call again.
        ScratchUnavailable: The scratch folder failed; call again once somebody has mended it.
        ClusterUnavailable: What `combine` computes on failed; call again.
        ConfigInvalid: The memory budget is too small for the roster, or `combine` cannot do the federation's rule.
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
        view = view_of(ledger, federation, number, listed=pending(ledger, federation, number))
        decision = _decided(ledger, record.federation, view, now=now)
        if isinstance(decision, Wait):
            return Waiting(number, decision.reason, decision.until, decision.overdue)
        at("decided")
        marker = Closing(round=number, reason=decision.reason, cut_at=now, without=decision.without)
        closing = ledger.mark_closing(federation, marker)
    at("closing")
    roster = cut(ledger, federation, closing, at=at)
    manifest = publish(ledger, roster, memory_budget_bytes=memory_budget_bytes, scratch=scratch, at=at, combine=combine)
    return Published(manifest, roster, _sweep(ledger, federation, number))


def _decided(ledger: Ledger, federation: Federation, view: RoundView, *, now: datetime) -> Wait | Cut:
    """What is to be done with the open round; with secure aggregation its phases are gone through first."""
    if federation.secure_aggregation is None:
        return decide(view, federation.participation, now=now)
    return masking.step(ledger, federation.name, view, policy=federation.secure_aggregation, now=now)


def _sweep(ledger: Ledger, federation: str, published: int) -> str:
    """Deletes what was staged and is counted nowhere, of every round that this one ends; why not, if it failed."""
    max_staleness = ledger.federation(federation).federation.participation.max_staleness
    try:
        for number in range(published - max_staleness - 1, published + 1):  # from one whose publisher may have died
            ledger.sweep_uploads(federation, number)
    except IsthmusError as error:  # the projector is visible, whatever stands in the way here
        return str(error)
    return ""


def view_of(ledger: Ledger, federation: str, number: int, *, listed: Sequence[tuple[str, int]]) -> RoundView:
    """The open round as `rounds.decide` wants it: four listings, and a record for each silo that was refused.

    `listed` is what `pending` found.
    """
    contributed = tuple(silo for silo, _ in listed)
    troubled = set(ledger.recorded_silos(federation, number)) - set(contributed)
    refused = {silo for silo in troubled if ledger.was_refused(federation, number, silo)}
    after = ledger.federation(federation).federation.admission.quarantine_after
    refused.update(strikes.quarantined(ledger.store, federation, after=after))
    return RoundView(
        number=number,
        opened_at=ledger.manifest(federation, number - 1).cut_at,
        contributed=contributed,
        active_silos=ledger.active_silos(federation),
        refused=tuple(sorted(refused - set(contributed))),
        resumed_at=ledger.resumed_at(federation),
    )


def pending(ledger: Ledger, federation: str, number: int) -> list[tuple[str, int]]:
    """What the cut of a round takes as things stand: silo and round trained from, sorted.

    Contributions to that round; in buffered mode also those to rounds up to `max_staleness` before it that no earlier
    roster counted. Earlier rosters are all fixed, so two listings differ by what came between them alone.
    """
    oldest = ledger.federation(federation).federation.first_trained(number)
    rosters = [(earlier, ledger.roster(federation, earlier)) for earlier in range(oldest, number)]
    counted_already = {
        (entry.silo, earlier - entry.staleness) for earlier, roster in rosters if roster for entry in roster.entries
    }
    rounds = range(oldest, number + 1)
    listed = {(silo, trained) for trained in rounds for silo in ledger.contributors(federation, trained)}
    return sorted(listed - counted_already)


def cut(ledger: Ledger, federation: str, closing: Closing, *, at: At = lambda point: None) -> Roster:
    """Fixes the roster of a round whose closing marker stands; the roster that stands.

    The listing comes after the marker: who committed a contribution and saw no marker is in it. Whether the quorum was
    there is told by the listing too, so a round about to be abandoned is cut when the last silo comes in between.
    """
    standing = ledger.roster(federation, closing.round)
    if standing is None:
        listed = pending(ledger, federation, closing.round)
        found = [ledger.contribution(federation, trained, silo) for silo, trained in listed]
        at("listed")
        contributions = [one for one in found if one]
        standing = ledger.fix_roster(_roster(ledger, federation, closing, contributions=contributions))
    at("roster")
    return standing


def _roster(ledger: Ledger, federation: str, closing: Closing, *, contributions: list[Contribution]) -> Roster:
    policy = ledger.federation(federation).federation
    quorum = policy.participation.silos.min
    silos = [one.silo for one in contributions]
    decision = Cut(closing.reason, closing.without)
    roster = Roster(
        federation=federation,
        round=closing.round,
        entries=tuple(_entry(one, counted_in=closing.round) for one in contributions),
        reason=reason_of_cut(closing.round, decision, contributed=silos, quorum=quorum),
        cut_at=closing.cut_at,
        abandoned=len(contributions) < quorum,
    )
    return masking.roster_of(ledger, closing, roster) if policy.secure_aggregation else roster


def _entry(contribution: Contribution, *, counted_in: int) -> RosterEntry:
    return RosterEntry(contribution.silo, contribution.digest, counted_in - contribution.header.round)


def counted(ledger: Ledger, contribution: Contribution) -> Receipt:
    """The receipt of a committed contribution that is, or will be, in a roster.

    Looked for in its own round; in buffered mode then in the later ones that its staleness allows. No closing marker
    after the commit: whoever lists later finds the contribution, and no earlier roster has it, so that round counts
    it. With the marker, the roster answers; where it is not fixed yet, this call fixes it (as any replica may) instead
    of waiting for one that may have died.

    Raises:
        RoundClosed: No roster that may hold it does; details["currentRound"] is the round to go on with.
    """
    federation, trained = contribution.header.federation, contribution.header.round
    last = ledger.federation(federation).federation.last_counting(trained)
    for number in range(trained, last + 1):
        closing = ledger.closing(federation, number)
        if closing is None:
            return replace(contribution.receipt, counted_in=number)
        if _entry(contribution, counted_in=number) in cut(ledger, federation, closing).entries:
            return replace(contribution.receipt, counted_in=number)
    raise RoundClosed(
        f"Round {last} of federation {federation} was cut before the delta of silo {contribution.silo} was counted. "
        "Pull the current projector and train again.",
        currentRound=max(last + 1, round_of(ledger, federation)),
    )
