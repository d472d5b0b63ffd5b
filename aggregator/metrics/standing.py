"""Where a federation stands, as numbers, read from the store: the same at every replica, and after every restart."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from statistics import fmean

from aggregator.ledger import Ledger, strikes
from aggregator.rpc.present import Present, present_of
from isthmus.evaluation import Summary, summary_in
from isthmus.federation import FederationState
from isthmus.manifest import ProjectorManifest

LOSS = "train_loss"
"""The one metric of silos that is told: what the trainers of this project report. Silos choose the names of others."""

_MANIFESTS_AT_ONCE = 500
"""Of a long lineage that this process has not seen yet, so much is read in one turn."""


@dataclass(frozen=True, slots=True)
class Last:
    """The newest round that was published, abandoned or not; numbers of what never changes any more.

    Attributes:
        number: Which round; 0: none yet.
        cut_at: Seconds since 1970; of projector 0, when the federation was created.
        seconds: From the cut before to this one.
        num_silos: In its roster.
        num_examples: Claimed, over the roster.
        l2_norms: Of its roster's deltas.
        loss: Mean over the roster of what silos report as `LOSS`; None where not all do.
        held_out: What they report of the projector that the round started from, before training; None where none does.
    """

    number: int
    cut_at: float
    seconds: float = 0.0
    num_silos: int = 0
    num_examples: int = 0
    l2_norms: tuple[float, ...] = ()
    loss: float | None = None
    held_out: Summary | None = None

    @property
    def held_out_losses(self) -> dict[str, float]:
        """Mean and quartiles of the held-out losses; empty where there are none."""
        found = self.held_out
        return {"mean": found.mean, "q1": found.q1, "median": found.median, "q3": found.q3} if found else {}

    @property
    def norms(self) -> dict[str, float]:
        """Smallest, mean and largest norm; empty where there are no deltas."""
        found = self.l2_norms
        return {"min": min(found), "mean": fmean(found), "max": max(found)} if found else {}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one federation stands.

    Attributes:
        name: Which federation.
        phase: One of `aggregator.metrics.labels.PHASES`.
        round: The open round; after the last one, the number of rounds + 1.
        num_rounds: Planned.
        num_contributions: What a cut of the open round would take.
        quorum: The least it may be cut with.
        opened_at: When the open round's seconds began to count, in seconds since 1970.
        deadline: When it may be cut with the quorum; None when none is running.
        active_silos: Enrolled and not revoked.
        waited_for: Of those, who has not answered yet.
        quarantined: Who is barred for hostile payloads.
        last: The newest published round.
        num_abandoned: Rounds that ended without their quorum, among the first `num_counted`.
        num_reverted: Rounds whose silos flagged the projector that they started from, among the same.
        num_counted: Rounds whose manifests were looked at: all, unless the lineage is long and this process young.
    """

    name: str
    phase: str
    round: int
    num_rounds: int
    num_contributions: int
    quorum: int
    opened_at: float
    deadline: float | None
    active_silos: tuple[str, ...]
    waited_for: tuple[str, ...]
    quarantined: tuple[str, ...]
    last: Last
    num_abandoned: int = 0
    num_reverted: int = 0
    num_counted: int = field(default=0)


def standing_of(ledger: Ledger, name: str, *, now: datetime, before: Standing | None = None) -> Standing:
    """Where a federation stands now. What was found out `before` of rounds that are over is not read again.

    Raises:
        IsthmusError: The store does not answer, or what it holds is damaged.
    """
    present = present_of(ledger, name, now=now)
    policy = present.record.federation.participation
    running = present.state is FederationState.RUNNING
    made = Standing(
        name=name,
        phase=phase_of(present),
        round=present.round,
        num_rounds=present.record.federation.rounds,
        num_contributions=len(present.view.contributed),
        quorum=policy.silos.min,
        opened_at=present.view.starts_at.timestamp(),
        deadline=present.deadline.timestamp() if present.deadline else None,
        active_silos=present.view.active_silos,
        waited_for=present.view.waited_for if running else (),
        quarantined=_quarantined(ledger, present),
        last=_last(ledger, present.base, name=name, before=before.last if before else None),
    )
    return _counted(ledger, made, before)


def phase_of(present: Present) -> str:
    """What the open round is at."""
    if present.closing is not None:  # brought to its end, whatever the operator asked for since
        return "cutting"
    if present.state is not FederationState.RUNNING:
        return "paused" if present.state is FederationState.PAUSED else "finished"
    return "overdue" if present.overdue else "collecting"


def _quarantined(ledger: Ledger, present: Present) -> tuple[str, ...]:
    federation = present.record.federation
    return tuple(
        sorted(strikes.quarantined(ledger.store, federation.name, after=federation.admission.quarantine_after))
    )


def _last(ledger: Ledger, manifest: ProjectorManifest, *, name: str, before: Last | None) -> Last:
    if before is not None and before.number == manifest.number:
        return before
    cut_at = manifest.cut_at.timestamp()
    if manifest.number == 0:
        return Last(0, cut_at)
    roster = ledger.roster(name, manifest.number)
    contributions = ledger.roster_contributions(roster) if roster else []
    return Last(
        number=manifest.number,
        cut_at=cut_at,
        seconds=cut_at - ledger.manifest(name, manifest.number - 1).cut_at.timestamp(),
        num_silos=len(manifest.silos),
        num_examples=manifest.num_examples,
        l2_norms=tuple(one.l2_norm for one in contributions),
        loss=manifest.metrics.get(LOSS),
        held_out=summary_in(manifest.metrics),
    )


def _counted(ledger: Ledger, made: Standing, before: Standing | None) -> Standing:
    """The same with abandoned and reverted rounds counted: those not looked at yet, and so many at once."""
    num_counted, num_abandoned = (before.num_counted, before.num_abandoned) if before else (0, 0)
    num_reverted = before.num_reverted if before else 0
    until = min(made.last.number, num_counted + _MANIFESTS_AT_ONCE)
    found = [ledger.manifest(made.name, number) for number in range(num_counted + 1, until + 1)]
    return replace(
        made,
        num_counted=until,
        num_abandoned=num_abandoned + sum(manifest.abandoned for manifest in found),
        num_reverted=num_reverted + sum(manifest.reverted for manifest in found),
    )
