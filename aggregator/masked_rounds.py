"""The phases of a round with secure aggregation: keys, vectors, seeds. A pure function of what is there and the clock.

An attempt is a round: one that misses a vector ends without a change, nothing of it opened; the next one has new keys.
Knows no store; `aggregator.masking` gathers the view and acts on the decision.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aggregator.rounds import Cut, RoundView, Wait, clock, decide, names
from isthmus.federation import ParticipationPolicy
from isthmus.secure_aggregation.policy import SecureAggregationPolicy


@dataclass(frozen=True, slots=True)
class MaskedView:
    """An open round, as far as the decision goes.

    Attributes:
        round: As `aggregator.rounds` sees it; its contributions are the vectors.
        offered: Whose keys are there, sorted.
        members: Whose keys the roster has, sorted; None: it is not fixed.
        fixed_at: When it was.
        complete: Whether the sum is to be opened; None: that is not decided.
        why: Of that decision, and without whom.
        revealed: Whose seeds are there, sorted.
    """

    round: RoundView
    offered: tuple[str, ...]
    members: tuple[str, ...] | None = None
    fixed_at: datetime | None = None
    complete: bool | None = None
    why: Cut | None = None
    revealed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FixKeys:
    """The key roster is to be fixed, of all who offered; `reason` as a clause."""

    reason: str


@dataclass(frozen=True, slots=True)
class Decide:
    """It is to be decided whether the sum is opened; reason and left out as `aggregator.rounds.Cut` has them."""

    complete: bool
    why: Cut


def decide_masked(
    view: MaskedView, participation: ParticipationPolicy, policy: SecureAggregationPolicy, *, now: datetime
) -> Wait | FixKeys | Decide | Cut:
    """What is next.

    Keys are waited for as contributions are elsewhere, by the same rules. Vectors are waited for until
    `upload_seconds` after the key roster was fixed, or the federation resumed since; one that is missing then, or whose
    silo was revoked, ends the round. Seeds are waited for however long: a sum that some revealed for is opened or
    nothing is, from that projector.
    """
    if view.complete is False and view.why is not None:
        return view.why
    if view.members is None or view.fixed_at is None:
        return _keys(view, participation, now=now)
    if view.complete is None:
        starts_at = max(view.fixed_at, view.round.starts_at)  # while it was paused nobody could push
        return _vectors(view, view.members, starts_at + timedelta(seconds=policy.upload_seconds), now=now)
    missing = tuple(silo for silo in view.members if silo not in view.revealed)
    if missing:
        return Wait(
            f"Round {view.round.number} has every vector; it waits for the seeds of {names(missing)}. Without them "
            "nothing of this projector's rounds is ever opened.",
            None,
        )
    return Cut("every vector and every seed of its key roster is there")


def _keys(view: MaskedView, participation: ParticipationPolicy, *, now: datetime) -> Wait | FixKeys | Decide:
    offered = replace(view.round, contributed=view.offered)
    decision = decide(offered, participation, now=now)
    if isinstance(decision, Wait):
        return replace(decision, reason=decision.reason.replace("contribution", "key"))
    if len(view.offered) < participation.silos.min:
        return Decide(False, replace(decision, reason=f"too few keys were offered, and {decision.reason}"))
    return FixKeys(decision.reason)


def _vectors(view: MaskedView, members: tuple[str, ...], until: datetime, *, now: datetime) -> Wait | Decide:
    missing = tuple(silo for silo in members if silo not in view.round.contributed)
    gone = tuple(silo for silo in missing if silo not in view.round.active_silos)
    if not missing:
        return Decide(True, Cut("every vector is there"))
    if gone:
        return Decide(False, Cut(f"{names(gone)} was revoked after its key was fixed", missing))
    if now >= until:
        return Decide(False, Cut(f"the time for vectors was up at {clock(until)}", missing))
    return Wait(f"Round {view.round.number} waits for the vectors of {names(missing)} until {clock(until)}.", until)
