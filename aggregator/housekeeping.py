"""Housekeeping: what a federation's store need not keep for ever goes when its time is up, and nothing else does.

Two kinds go, by the federation's own `[retention]`. *Deltas*: the bytes of all that silos sent to a round, some days
after it was over; they may reveal private data. Their documents, digests and norms stay, and so do all projectors and
optimizer states. *Uploads*: bytes of a round that is over to which no contribution refers, some hours after.

A round is over when no roster can list anything of it any more. Before that nothing is touched, so an open round, a
racing replica and a resumed upload find what they need; see docs/adr/0012 and 0017. Any replica may tidy at any time,
at once with others, and die anywhere in it: the record of a removal is created before its first byte goes, and all
else is deletes.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from aggregator.ledger import Ledger, federations, removal
from aggregator.ledger.records import FederationRecord
from aggregator.ledger.removal import Removal
from aggregator.stores import Entry

POINTS = ("due", "marked", "deleted")
"""Where tidying may die: before a round's record, after it, after each byte run that is gone."""

At = Callable[[str], None]


class Kind(enum.StrEnum):
    """Why bytes go."""

    DELTAS = "deltas"
    UPLOADS = "uploads"


@dataclass(frozen=True, slots=True)
class Due:
    """What of one round goes now.

    Attributes:
        round: Which round.
        kind: Why.
        over_at: When the round was over.
        entries: The keys that go, and their sizes.
    """

    round: int
    kind: Kind
    over_at: datetime
    entries: tuple[Entry, ...]

    @property
    def size_bytes(self) -> int:
        """Of everything that goes."""
        return sum(entry.size_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Tidied:
    """How far a federation is tidied: rounds up to here need not be looked at again. Safe to lose."""

    deltas: int = 0
    uploads: int = 0


def due(ledger: Ledger, federation: str, *, now: datetime, since: Tidied = Tidied()) -> Iterator[Due]:
    """What goes now, oldest round first; nothing is changed.

    Raises:
        FederationUnknown: There is no such federation.
    """
    record = ledger.federation(federation)
    policy = record.federation.retention
    latest = ledger.latest_number(federation)
    uploads_before = now - timedelta(hours=policy.abandoned_uploads_hours)
    deltas_before = now - timedelta(days=policy.deltas_days)
    for number in range(since.deltas + 1, latest + 2):
        over_at = over(ledger, record, number, latest=latest)
        if over_at is None or over_at > max(uploads_before, deltas_before):
            return
        if over_at <= deltas_before:
            entries = removal.staged(ledger.store, federation, number)
            yield Due(number, Kind.DELTAS, over_at, tuple(entries))
        elif number > since.uploads:
            yield Due(number, Kind.UPLOADS, over_at, _uncounted(ledger, federation, number))


def tidy(
    ledger: Ledger,
    federation: str,
    *,
    now: datetime,
    by: str,
    since: Tidied = Tidied(),
    at: At = lambda point: None,
) -> Iterator[Due]:
    """Removes what is due, round by round, and tells each round when it is done.

    Args:
        ledger: Where everything stands.
        federation: Which federation.
        now: The clock.
        by: Who removes, for the record.
        since: How far an earlier call came.
        at: Told each of `POINTS` as it is reached.

    Raises:
        FederationUnknown: There is no such federation.
        StoreUnavailable: The store failed; call again.
    """
    days = ledger.federation(federation).federation.retention.deltas_days
    for one in due(ledger, federation, now=now, since=since):
        at("due")
        if one.entries and one.kind is Kind.DELTAS:
            removal.mark(ledger.store, federation, _record_of(one, by=by, days=days, now=now))
            at("marked")
        for entry in one.entries:
            ledger.store.delete(entry.key)
            at("deleted")
        yield one


def further(since: Tidied, done: Due) -> Tidied:
    """How far a federation is tidied after that round was."""
    deltas = done.round if done.kind is Kind.DELTAS else since.deltas
    return Tidied(deltas=deltas, uploads=max(done.round, since.uploads))


def over(ledger: Ledger, record: FederationRecord, number: int, *, latest: int) -> datetime | None:
    """When the round was over, so that nothing of it can be counted any more; None while something can.

    That is when the last round that may count it was published, or when the operator finished the federation, unless a
    cut had begun: a cut that has begun is brought to its end.

    Args:
        ledger: Where everything stands.
        record: The federation.
        number: The round; at most the open one.
        latest: The newest global projector; an older one makes fewer rounds over.
    """
    name = record.federation.name
    last = record.federation.last_counting(number)
    if last <= latest:
        return ledger.manifest(name, last).cut_at
    finished_at = federations.finished_at(ledger.store, name)
    if finished_at is None or ledger.closing(name, latest + 1) is not None:
        return None
    return finished_at


def _uncounted(ledger: Ledger, federation: str, number: int) -> tuple[Entry, ...]:
    """What no contribution of the round refers to. The listing comes first, so that it names no newer bytes."""
    entries = removal.staged(ledger.store, federation, number)
    if not entries:
        return ()
    needed = {segment.key for one in ledger.contributions(federation, number) for segment in one.segments}
    return tuple(entry for entry in entries if entry.key not in needed)


def _record_of(removed: Due, *, by: str, days: float, now: datetime) -> Removal:
    return Removal(
        round=removed.round,
        removed_at=now,
        removed_by=by,
        reason=f"Round {removed.round} was over at {removed.over_at:%Y-%m-%d %H:%M:%S} UTC, and its deltas are kept "
        f"for {days:g} days (retention.deltas_days).",
        num_segments=len(removed.entries),
        size_bytes=removed.size_bytes,
    )
