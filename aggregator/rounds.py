"""When a round is cut: a pure function of who contributed, the federation's policy and the clock.

Knows no store; the caller gathers the view and acts on the decision. Reasons are whole sentences for logs and screens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from isthmus.federation import ParticipationPolicy

_MAX_NAMES = 8


@dataclass(frozen=True, slots=True)
class RoundView:
    """An open round, as far as the decision goes.

    Attributes:
        number: Which round.
        opened_at: When its base was cut (round 1: when the federation was created).
        contributed: Who contributed, sorted; silos revoked since then too.
        active_silos: Who is enrolled and not revoked, sorted.
        refused: Whose last push to this round was refused; only told, it decides nothing.
    """

    number: int
    opened_at: datetime
    contributed: tuple[str, ...]
    active_silos: tuple[str, ...]
    refused: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Active silos that have not contributed."""
        return tuple(sorted(set(self.active_silos) - set(self.contributed)))


@dataclass(frozen=True, slots=True)
class Wait:
    """The round stays open; `until` is when time alone would change that, None when it would not."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Cut:
    """The round is to be cut."""

    reason: str


def deadline(opened_at: datetime, policy: ParticipationPolicy) -> datetime:
    """When the round is cut with the quorum."""
    return opened_at + timedelta(seconds=policy.seconds.max)


def decide(view: RoundView, policy: ParticipationPolicy, *, now: datetime) -> Wait | Cut:
    """Whether the round is to be cut now.

    With the quorum (`silos.min`) and not before `seconds.min`, the round is cut as soon as `silos.max` silos
    contributed, every active silo did, or `seconds.max` is over. Without the quorum it waits, however long.
    """
    number, quorum = len(view.contributed), policy.silos.min
    if number < quorum:
        return Wait(_below_quorum(view, policy, now=now), None)
    complete = number >= policy.silos.max or not view.missing
    earliest, latest = view.opened_at + timedelta(seconds=policy.seconds.min), deadline(view.opened_at, policy)
    if now < earliest:
        waiting_for = "more silos" if complete else names(view.missing)
        return Wait(
            f"Round {view.number} has {_count(number)} and its quorum, and stays open until {_clock(earliest)} for "
            f"{waiting_for}.",
            earliest,
        )
    if complete:
        return Cut(_complete(view, policy))
    if now >= latest:
        return Cut(
            f"Round {view.number} was cut with {_count(number)} because its time was up at {_clock(latest)}, without "
            f"{names(view.missing)}."
        )
    return Wait(
        f"Round {view.number} has {_count(number)} and its quorum; it waits for {_missing(view)} until "
        f"{_clock(latest)}.",
        latest,
    )


def names(silos: Sequence[str]) -> str:
    """The silos in words, the first few of many."""
    if len(silos) > _MAX_NAMES:
        return f"{', '.join(silos[:_MAX_NAMES])} and {len(silos) - _MAX_NAMES} more"
    return " and ".join(filter(None, [", ".join(silos[:-1]), *silos[-1:]]))


def _below_quorum(view: RoundView, policy: ParticipationPolicy, *, now: datetime) -> str:
    quorum = policy.silos.min
    over = " Its time is up: it is cut once the quorum is there." if now >= deadline(view.opened_at, policy) else ""
    start = f"Round {view.number} has {_count(len(view.contributed))} of the {quorum} that its quorum needs"
    if len(view.missing) + len(view.contributed) < quorum:
        invited = f"waits for {_missing(view)}, and for" if view.missing else "waits for"
        lacking = quorum - len(view.missing) - len(view.contributed)
        return f"{start}; it {invited} {lacking} more to be invited.{over}"
    return f"{start}; it waits for {_missing(view)}.{over}"


def _complete(view: RoundView, policy: ParticipationPolicy) -> str:
    number = len(view.contributed)
    why = "every active silo contributed" if not view.missing else f"it takes no more than {policy.silos.max}"
    return f"Round {view.number} was cut with {_count(number)} because {why}."


def _missing(view: RoundView) -> str:
    refused = tuple(silo for silo in view.missing if silo in view.refused)
    return names(view.missing) + (f" (last push refused: {names(refused)})" if refused else "")


def _count(number: int) -> str:
    return "1 contribution" if number == 1 else f"{number} contributions"


def _clock(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
