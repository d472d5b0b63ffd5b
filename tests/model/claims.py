"""What must hold of every bucket that actors may leave behind, and of all that an actor may end with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aggregator.advance import Finished, Published, Waiting
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Roster
from aggregator.verifying.verify import verify
from isthmus.contribution import Receipt
from tests.ledgers import NAME
from tests.model.bucket import store_of
from tests.model.scene import Contents, Repaired

_MEMORY_BUDGET_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Refused:
    """A push that was told that the federation went on without it."""

    silo: str
    round: int


class Claims:
    """Invariants 1 and 2, asked of buckets and endings; what was asked of a bucket once is not asked again.

    Args:
        scratch: A folder for what is computed once more.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._rosters: dict[int, list[Roster]] = {}
        self._broken_links: dict[int, str] = {}

    def wrong_with_bucket(self, repaired: Repaired) -> str:
        """Whether `verify` finds a broken link in what was found or left behind, or a survivor could not go on."""
        before, after = repaired.before, repaired.after
        changed = [key for key, content in before.items() if "/uploads/" not in key and content != after.get(key)]
        if changed:
            return f"what was decided did not stand: {changed[0]}"
        if not isinstance(repaired.outcome, tuple):
            return f"a survivor ended with {repaired.outcome!r}"
        if isinstance(repaired.outcome[-1], Waiting) and _has_open_contribution(after, rosters_of(after)):
            return f"a survivor waits: {repaired.outcome[-1].reason}"
        return self._broken_link(before) or self._broken_link(after)

    def wrong_with_ending(self, outcome: object, repaired: Repaired) -> str:
        """Whether what an actor was told is not what the rosters say that stand in the end."""
        rosters = self._rosters.setdefault(id(repaired.after), rosters_of(repaired.after))
        match outcome:
            case Receipt(silo=silo, round=trained, counted_in=told):
                found = [number for number, one, from_round in counted(rosters) if (one, from_round) == (silo, trained)]
                told_wrong = f"silo {silo} has a receipt of round {told}, and its delta is counted in {found}"
                return "" if found == [told] else told_wrong
            case Refused(silo=silo, round=trained):
                counts = (silo, trained) in [(one, from_round) for _, one, from_round in counted(rosters)]
                return f"silo {silo} was told that it is not counted, and it is" if counts else ""
            case tuple():
                return next(filter(None, (_wrong_with_step(one, rosters, repaired.after) for one in outcome)), "")
        return f"an actor ended with {outcome!r}"

    def _broken_link(self, contents: Contents) -> str:
        known = self._broken_links.get(id(contents))
        if known is None:
            store = store_of(contents)
            broken = verify(store, NAME, memory_budget_bytes=_MEMORY_BUDGET_BYTES, scratch=self._scratch).broken
            known = f"{broken[0].key}: {broken[0].meaning}" if broken else ""
            self._broken_links[id(contents)] = known
        return known


def rosters_of(contents: Contents) -> list[Roster]:
    """All rosters of a bucket, round 1 first."""
    documents = [contents[key] for key in sorted(contents) if key.endswith("/roster.json")]
    return [Roster.from_json(document) for document in documents]


def counted(rosters: list[Roster]) -> Iterator[tuple[int, str, int]]:
    """Each contribution of these rosters: the round that counts it, its silo, the round that it was trained from."""
    for roster in rosters:
        yield from ((roster.round, entry.silo, roster.round - entry.staleness) for entry in roster.entries)


def _wrong_with_step(outcome: object, rosters: list[Roster], contents: Contents) -> str:
    match outcome:
        case Published(manifest=manifest, roster=roster, unswept=unswept):
            standing = Ledger(store_of(contents)).manifest(NAME, manifest.number)
            if standing != manifest or roster not in rosters or unswept:
                return (
                    f"a replica told of projector {manifest.digest.hex()[:8]}, and {standing.digest.hex()[:8]} stands"
                )
            return ""
        case Finished() | Waiting():
            return ""
    return f"a step of a replica ended with {outcome!r}"


def _has_open_contribution(contents: Contents, rosters: list[Roster]) -> bool:
    """Whether there is a contribution that the open round should count."""
    ledger = Ledger(store_of(contents))
    open_round = ledger.latest_number(NAME) + 1
    staleness = ledger.federation(NAME).federation.participation.max_staleness
    done = {(silo, trained) for _, silo, trained in counted(rosters)}
    rounds = range(max(1, open_round - staleness), open_round + 1)
    return any((silo, number) not in done for number in rounds for silo in ledger.contributors(NAME, number))
