"""One federation under examination: its documents, read once each, and what of them was found sound."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aggregator.ledger import Ledger, keys
from aggregator.ledger.documents import Roster, manifest_from_json
from aggregator.ledger.records import FederationRecord
from aggregator.ledger.segments import SegmentNames
from aggregator.trust_domains import Vouchers
from aggregator.verifying.contributions import Checked, Start, check_contribution
from aggregator.verifying.evidence import Evidence
from aggregator.verifying.signatures import Signers
from isthmus.manifest import ProjectorManifest

T = TypeVar("T")


def trained(roster: Roster) -> list[tuple[str, int]]:
    """Silo and round trained from of each contribution that a roster names, in its order."""
    return [(entry.silo, roster.round - entry.staleness) for entry in roster.entries]


class Case:
    """What every check of one federation works on.

    Args:
        evidence: Its objects.
        ledger: The same, for the arithmetic.
        record: Its definition.
        latest: The newest global projector when verifying began: what comes later is left alone.
        vouchers: Who may vouch for silos; None: not known.
        memory_budget_bytes: What the arithmetic may hold at once.
        scratch: A folder with room for a projector and an optimizer's state.
    """

    def __init__(
        self,
        evidence: Evidence,
        ledger: Ledger,
        record: FederationRecord,
        *,
        latest: int,
        vouchers: Vouchers | None,
        memory_budget_bytes: int,
        scratch: Path,
    ) -> None:
        self.evidence = evidence
        self.findings = evidence.findings
        self.ledger = ledger
        self.record = record
        self.name = record.federation.name
        self.latest = latest
        self.signers = Signers(evidence, vouchers=vouchers)
        self.memory_budget_bytes = memory_budget_bytes
        self.scratch = scratch
        self.segment_names = SegmentNames(evidence.pieces)
        self._manifests: dict[int, ProjectorManifest | None] = {0: record.initial}
        self._rosters: dict[int, Roster | None] = {}
        self._starts: dict[int, Start | None] = {}
        self._checked: dict[tuple[int, str], Checked | None] = {}

    def forget_before(self, number: int) -> None:
        """Lets go of what was read of rounds that a roster from this one on cannot name."""
        number = self.record.federation.first_trained(number) - 1
        for memory in (self._manifests, self._rosters, self._starts):
            for known in [key for key in memory if 0 < key < number]:
                del memory[known]
        for silo in [key for key in self._checked if key[0] < number]:
            del self._checked[silo]

    def manifest(self, number: int) -> ProjectorManifest | None:
        """The manifest of a published projector; None, and a broken link, where it cannot be read."""
        if number not in self._manifests:
            key = keys.projector(self.name, number)
            meaning = f"Projector {number} was published, and what it is made of is lost."
            found = self.evidence.document(key, manifest_from_json, meaning=meaning)
            self._manifests[number] = self._placed(key, found, number, of=lambda one: one.number)
        return self._manifests[number]

    def roster(self, number: int) -> Roster | None:
        """The roster of a round; None where it is not cut, or (a broken link) where its roster cannot be read."""
        if number not in self._rosters:
            key = keys.roster(self.name, number)
            meaning = f"What round {number} aggregated is lost."
            content = self.evidence.content(key)
            found = None if content is None else self.evidence.parsed(key, content, Roster.from_json, meaning=meaning)
            if content is None and number <= self.latest:
                self.evidence.missing(key, meaning=meaning)
            self._rosters[number] = self._placed(key, found, number, of=lambda one: one.round)
        return self._rosters[number]

    def start(self, number: int) -> Start | None:
        """The projector that a round starts from; None where that is not known."""
        if number not in self._starts:
            manifest = self.manifest(number - 1) if number - 1 <= self.latest else None
            self._starts[number] = Start(manifest.digest, self._is_whole(manifest)) if manifest else None
        return self._starts[number]

    def checked(self, number: int, silo: str) -> Checked | None:
        """What a silo contributed to a round, judged by itself; None, and a broken link, where it cannot be read."""
        if (number, silo) not in self._checked:
            key = keys.contribution(self.name, number, silo)
            self._checked[number, silo] = check_contribution(
                self.evidence,
                self.record,
                key,
                start=self.start(number),
                may_be_gone=lambda: self._may_be_gone(number, silo),
                signers=self.signers,
            )
        return self._checked[number, silo]

    def counted_in(self, number: int, silo: str) -> list[int]:
        """The rounds whose rosters hold what a silo contributed to a round: one at most, where all is well."""
        rounds = range(number, self.record.federation.last_counting(number) + 1)
        rosters = [roster for roster in map(self.roster, rounds) if roster]
        return [one.round for one in rosters if (silo, number) in trained(one)]

    def _may_be_gone(self, number: int, silo: str) -> bool:
        """Whether nobody needs the bytes of a contribution any more: no roster that could count it did."""
        last = self.record.federation.last_counting(number)
        if self.ledger.latest_number(self.name) < last:
            return False
        for cut_since in range(self.latest + 1, last + 1):  # since it was looked at first
            self._rosters.pop(cut_since, None)
        return not self.counted_in(number, silo)

    def _is_whole(self, manifest: ProjectorManifest) -> bool:
        meaning = f"The bytes of projector {manifest.number} are not those that its manifest names."
        return self.evidence.blob_holds(manifest.digest, size_bytes=manifest.size_bytes, meaning=meaning)

    def _placed(self, key: str, found: T | None, number: int, *, of: Callable[[T], int]) -> T | None:
        """What was found, if it is of that number; else None, and a broken link: documents were exchanged."""
        if found is None:
            return None
        fits = self.findings.agree(
            key, expected=f"number {number}", found=f"number {of(found)}", meaning="This document belongs elsewhere."
        )
        return found if fits else None
