"""What the evaluations of a round say of the projector that it started from, and whether the gate takes that back.

A function of stored bytes: manifests, rosters, contributions. So replicas that race decide alike, and `isthmus verify`
decides again what they did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aggregator.evaluation import changes, is_flagged, median_change, summarized
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Contribution, Roster
from isthmus.errors import InvariantBroken
from isthmus.evaluation import Report, Summary, report_in, summary_in
from isthmus.manifest import ProjectorManifest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the silos of a round say of the projector that it started from.

    Attributes:
        summary: Their reports together; None where nobody reported.
        back_to: The projector to go back to, since the gate flagged the one that the round started from; None: go on.
    """

    summary: Summary | None
    back_to: ProjectorManifest | None = None


def verdict_of(ledger: Ledger, roster: Roster, contributions: Sequence[Contribution]) -> Verdict:
    """The verdict of a roster on the projector that its round started from.

    Without a gate, and of an abandoned round, it only tells.

    Args:
        ledger: Where earlier rounds stand.
        roster: Of the round.
        contributions: The roster's.

    Raises:
        InvariantBroken: What earlier rounds left contradicts itself.
    """
    policy = ledger.federation(roster.federation).federation.evaluation
    now = reports_of(roster.round, contributions)
    summary = summarized(list(now.values()), max_samples=policy.max_samples)
    made_in = _made_in(ledger, roster) if policy.gate else 0
    if summary is None or policy.gate is None or not made_in:
        return Verdict(summary)
    risen = changes(_reports(ledger, roster.federation, made_in), now)
    summary = replace(summary, change=median_change(risen), num_compared=len(risen))
    flagged = is_flagged(risen, num_silos=len(roster.entries), gate=policy.gate) and not roster.abandoned
    return Verdict(summary, ledger.manifest(roster.federation, made_in - 1) if flagged else None)


def reports_of(round_number: int, contributions: Sequence[Contribution]) -> dict[str, Report]:
    """Each silo's report of the projector that the round started from; of stale deltas none: they judge older ones."""
    found = ((one.silo, report_in(one.header.metrics)) for one in contributions if one.header.round == round_number)
    return {silo: report for silo, report in found if report}


def told_of(manifest: ProjectorManifest) -> str:
    """What the gate did, in words; empty where it did nothing."""
    summary, judged = summary_in(manifest.metrics), manifest.number - 1
    if not manifest.reverted or summary is None or summary.change is None:
        return ""
    return (
        f"Nothing was combined: of {summary.num_compared} silos that evaluated projector {judged} and the one it was "
        f"made from, more than half found it worse by more than evaluation.gate allows (median {summary.change:+.2%}). "
        f"Projector {manifest.number} is that earlier one again."
    )


def _made_in(ledger: Ledger, roster: Roster) -> int:
    """The round that made the bytes that this round started from: abandoned ones hand them on; 0: none made them."""
    number = roster.round - 1
    while number and ledger.manifest(roster.federation, number).abandoned:
        number -= 1
    return number


def _reports(ledger: Ledger, federation: str, number: int) -> dict[str, Report]:
    roster = ledger.roster(federation, number)
    if roster is None:
        raise InvariantBroken(f"Round {number} of {federation} was published without a roster.")
    return reports_of(number, ledger.roster_contributions(roster))
