"""When a round is cut: a pure function of who contributed, the federation's policy and the clock.

Knows no store; the caller gathers the view and acts on the decision. Reasons are words for logs and screens.
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
        contributed: Who contributed what a cut would take, sorted; silos revoked since then too. In buffered mode a
            silo that contributed from several projectors stands here as often.
        active_silos: Who is enrolled and not revoked, sorted.
        refused: Whose last delta for this round was refused: an answer, so nobody waits for a better one. Who is
            quarantined, for deltas refused before, cannot give a better one either.
        resumed_at: When the operator last resumed the federation; None when it was never paused.
    """

    number: int
    opened_at: datetime
    contributed: tuple[str, ...]
    active_silos: tuple[str, ...]
    refused: tuple[str, ...] = ()
    resumed_at: datetime | None = None

    @property
    def starts_at(self) -> datetime:
        """When its seconds begin to count: while a federation was paused nobody could contribute."""
        return max(self.opened_at, self.resumed_at or self.opened_at)

    @property
    def missing(self) -> tuple[str, ...]:
        """Active silos that have not contributed."""
        return tuple(sorted(set(self.active_silos) - set(self.contributed)))

    @property
    def waited_for(self) -> tuple[str, ...]:
        """Active silos that have not answered: neither contributed nor refused."""
        return tuple(silo for silo in self.missing if silo not in self.refused)


@dataclass(frozen=True, slots=True)
class Wait:
    """The round stays open.

    Attributes:
        reason: Why, in one or two sentences.
        until: When time alone would change that; None when it would not.
        overdue: Its time is up and the quorum is not there.
    """

    reason: str
    until: datetime | None
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The round is to be cut, or abandoned: the listing behind the closing marker tells whether the quorum was there.

    Attributes:
        reason: Why, as a clause: what follows "because".
        without: Who is left out, unless he comes before the listing; sorted.
    """

    reason: str
    without: tuple[str, ...] = ()


def deadline(view: RoundView, policy: ParticipationPolicy) -> datetime:
    """When the round is cut with the quorum."""
    return view.starts_at + timedelta(seconds=policy.seconds.max)


def decide(view: RoundView, policy: ParticipationPolicy, *, now: datetime) -> Wait | Cut:
    """Whether the round is to be cut now.

    With the quorum (`silos.min`) and not before `seconds.min`, the round is cut as soon as there are `silos.max`
    contributions, every active silo contributed or was refused, or `seconds.max` is over. Without the quorum it waits,
    however long, or is abandoned at `seconds.max`, as `without_quorum` says. It is never abandoned while fewer silos
    are enrolled than the quorum needs: that would only use up the federation's rounds.
    """
    earliest, latest = view.starts_at + timedelta(seconds=policy.seconds.min), deadline(view, policy)
    time_is_up = Cut(f"its time was up at {clock(latest)}", view.missing)
    if len(view.contributed) < policy.silos.min:
        abandons = policy.without_quorum == "abandon" and len(view.contributed) + len(view.missing) >= policy.silos.min
        if abandons and now >= latest:
            return time_is_up
        return _wait_below_quorum(view, policy, latest=latest if abandons else None, overdue=now >= latest)
    complete = len(view.contributed) >= policy.silos.max or not view.waited_for
    if now < earliest:
        return _wait_for_earliest(view, earliest, complete=complete)
    if complete:
        return _complete(view, policy)
    return time_is_up if now >= latest else _wait_for_rest(view, latest)


def reason_of_cut(number: int, decision: Cut, *, contributed: Sequence[str], quorum: int) -> str:
    """Why a round was cut or abandoned, in one sentence, once the listing has told who is in it."""
    left_out = [silo for silo in decision.without if silo not in contributed]
    ending = f"because {decision.reason}{f', without {names(left_out)}' if left_out else ''}."
    if len(contributed) < quorum:
        return f"Round {number} was abandoned with {_count(contributed)} of the {quorum} that its quorum needs {ending}"
    return f"Round {number} was cut with {_count(contributed)} {ending}"


def names(silos: Sequence[str]) -> str:
    """The silos in words, the first few of many."""
    if len(silos) > _MAX_NAMES:
        return f"{', '.join(silos[:_MAX_NAMES])} and {len(silos) - _MAX_NAMES} more"
    return " and ".join(filter(None, [", ".join(silos[:-1]), *silos[-1:]]))


def clock(instant: datetime) -> str:
    """An instant in words, to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _wait_below_quorum(view: RoundView, policy: ParticipationPolicy, *, latest: datetime | None, overdue: bool) -> Wait:
    what = "fill its buffer" if policy.max_staleness else "its quorum needs"
    sentences = [
        f"Round {view.number} has {_count(view.contributed)} of the {policy.silos.min} that {what}; "
        f"it waits for {_lacking(view, policy)}."
    ]
    if latest is not None:
        sentences.append(f"Without them it is abandoned at {clock(latest)}.")
    elif overdue:
        sentences.append("Its time is up: it is cut once they are there.")
    return Wait(" ".join(sentences), latest, overdue)


def _lacking(view: RoundView, policy: ParticipationPolicy) -> str:
    """Whom a round without its quorum waits for."""
    lacking = policy.silos.min - len(view.contributed)
    uninvited = lacking - len(view.missing)
    if uninvited > 0:
        return f"{f'{_missing(view)}, and for ' if view.missing else ''}{uninvited} more to be invited"
    return f"any {lacking} of {_missing(view)}" if lacking < len(view.missing) else _missing(view)


def _wait_for_earliest(view: RoundView, earliest: datetime, *, complete: bool) -> Wait:
    waiting_for = "more silos" if complete else _missing(view)
    there = f"Round {view.number} has {_count(view.contributed)} and its quorum"
    return Wait(f"{there}, and stays open until {clock(earliest)} for {waiting_for}.", earliest)


def _wait_for_rest(view: RoundView, latest: datetime) -> Wait:
    return Wait(
        f"Round {view.number} has {_count(view.contributed)} and its quorum; it waits for {_missing(view)} until "
        f"{clock(latest)}.",
        latest,
    )


def _complete(view: RoundView, policy: ParticipationPolicy) -> Cut:
    if policy.max_staleness:
        return Cut(f"{policy.silos.max} fill its buffer")
    if not view.missing:
        return Cut("every active silo contributed")
    if len(view.contributed) >= policy.silos.max:
        return Cut(f"{policy.silos.max} are enough")
    return Cut("every other active silo's delta was refused", view.missing)


def _missing(view: RoundView) -> str:
    refused = tuple(silo for silo in view.missing if silo in view.refused)
    return names(view.missing) + (f" (last push refused: {names(refused)})" if refused else "")


def _count(contributed: Sequence[str]) -> str:
    return "1 contribution" if len(contributed) == 1 else f"{len(contributed)} contributions"
