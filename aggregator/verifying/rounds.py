"""One round, link by link: contributions, records, roster, manifest, and the projector computed once more."""

import dataclasses

from aggregator.aggregate import Aggregated
from aggregator.gate import Verdict, verdict_of
from aggregator.ledger import keys, removal
from aggregator.ledger.audit import Trail
from aggregator.ledger.documents import Closing, Contribution, Roster
from aggregator.payload_writer import Written
from aggregator.publication import REVEALED, manifest_of
from aggregator.stores import exists
from aggregator.verifying.case import Case, trained
from aggregator.verifying.contributions import Checked
from aggregator.verifying.masking import check_masked, is_complete
from aggregator.verifying.recompute import recomputed
from aggregator.verifying.trails import check_admitted, check_trail
from isthmus.errors import InvariantBroken
from isthmus.manifest import ProjectorManifest

_RESULTS = ("digest", "size_bytes", "optimizer_state_digest", "optimizer_state_size_bytes")
"""What of a manifest only the arithmetic gives; all else follows from documents."""


def check_round(case: Case, number: int) -> bool:
    """Checks all that belongs to a round, published or not; whether its projector was computed once more."""
    recorded = case.ledger.recorded_silos(case.name, number)  # listed first: records come after contributions
    silos = case.evidence.names(keys.contributions(case.name, number))
    _check_removal(case, number)
    checked = {silo: case.checked(number, silo) for silo in silos}
    roster = case.roster(number)
    members = None
    if roster is not None:
        _check_closing(case, roster)
        members = _members(case, roster)
    for silo in recorded:
        found = checked.get(silo)
        contribution = found.contribution if found else None
        check_trail(case.evidence, Trail(case.name, number, silo), contribution=contribution)
    return roster is not None and number <= case.latest and _check_published(case, roster, members)


def _check_removal(case: Case, number: int) -> None:
    key = keys.removal(case.name, number)
    content = case.evidence.content(key)
    if content is None:
        return
    meaning = f"When and why the deltas of round {number} were removed is not known."
    record = case.evidence.parsed(key, content, removal.Removal.from_json, meaning=meaning)
    if record is not None and case.findings.agree(key, expected=number, found=record.round, meaning=meaning):
        case.findings.remark(
            f"Round {number} is not recomputable: its deltas were removed on {record.removed_at:%Y-%m-%d} by "
            f"{record.removed_by}; digests stand."
        )


def _check_closing(case: Case, roster: Roster) -> None:
    key = keys.closing(case.name, roster.round)
    meaning = f"Round {roster.round} was cut without its marker: a contribution may have been left out unseen."
    closing = case.evidence.document(key, Closing.from_json, meaning=meaning)
    if closing is not None:
        case.findings.agree(
            key,
            expected=f"round {roster.round}, cut at {roster.cut_at}",
            found=f"round {closing.round}, cut at {closing.cut_at}",
            meaning="The marker is not that of this round's roster.",
        )


def _members(case: Case, roster: Roster) -> list[Checked] | None:
    """The contributions of a roster in its order, None where one is not the one that it names."""
    holds = _check_roster(case, roster)
    members = []
    for entry, (silo, number) in zip(roster.entries, trained(roster), strict=True):
        member = case.checked(number, silo)
        if member is None:
            holds = False
            continue
        members.append(member)
        holds &= case.findings.agree(
            keys.contribution(case.name, number, silo),
            expected=entry.contribution_digest,
            found=member.contribution.digest,
            meaning=f"The roster of round {roster.round} counted another contribution of silo {silo}.",
        )
    return members if holds else None


def _check_roster(case: Case, roster: Roster) -> bool:
    """Whether a roster is one that the cut can have fixed: in order, nobody twice, abandoned only without a quorum."""
    key, named = keys.roster(case.name, roster.round), trained(roster)
    federation = case.record.federation
    oldest = federation.first_trained(roster.round)
    twice = [one for one in named if case.counted_in(one[1], one[0]) != [roster.round]]
    facts = [
        ("each contribution once, in order", named == sorted(set(named))),
        (f"contributions to rounds {oldest} to {roster.round}", all(oldest <= one[1] <= roster.round for one in named)),
        ("no contribution that another roster counts", not twice),
        ("abandoned only without its quorum", roster.abandoned == _ended_without(case, roster)),
    ]
    meaning = f"The roster of round {roster.round} is none that a cut can have fixed."
    found = [text if holds else f"not {text}" for text, holds in facts]
    return case.findings.agree(key, expected=[text for text, _ in facts], found=found, meaning=meaning)


def _ended_without(case: Case, roster: Roster) -> bool:
    """Whether a round must have ended without a change: below its quorum, or, of masked deltas, not complete."""
    federation = case.record.federation
    if federation.secure_aggregation:
        return not is_complete(case, roster.round)
    return len(roster.entries) < federation.participation.silos.min


def _check_published(case: Case, roster: Roster, members: list[Checked] | None) -> bool:
    """Checks the projector that a roster gave; whether it was computed once more."""
    published, base = case.manifest(roster.round), case.manifest(roster.round - 1)
    if published is None or base is None:
        return False
    key, meaning = keys.projector(case.name, roster.round), f"Projector {roster.round} does not follow from its round."
    case.findings.agree(key, expected=roster.digest, found=published.roster_digest, meaning=meaning)
    for digest, size_bytes, what in (
        (published.digest, published.size_bytes, "the projector"),
        (published.optimizer_state_digest, published.optimizer_state_size_bytes, "the optimizer's state"),
    ):
        lost = f"The bytes of {what} of round {roster.round} are not those that its manifest names."
        if digest:
            case.evidence.blob_holds(digest, size_bytes=size_bytes, meaning=lost)
    if members is None:
        return False
    contributions = [member.contribution for member in members]
    for one in contributions:
        check_admitted(case.evidence, one)
    try:
        verdict = verdict_of(case.ledger, roster, contributions)
    except InvariantBroken as error:  # the round that it compares with is damaged, and told there
        _cannot_have_come(case, roster.round, error)
        return False
    if roster.abandoned or verdict.back_to:  # nothing was combined, so nothing but documents is needed
        again = manifest_of(case.record, base, roster, aggregated=None, contributions=contributions, verdict=verdict)
        _compare(case, published, again, leaving=())
        return True
    if case.record.federation.secure_aggregation and not check_masked(case, roster, contributions):
        return False
    if not all(member.is_whole for member in members) or not _rests(case, base):
        _compare(case, published, _documented(case, roster, contributions, verdict=verdict), leaving=_RESULTS)
        return False
    return _recompute(case, roster, contributions, verdict=verdict)


def _rests(case: Case, base: ProjectorManifest) -> bool:
    """Whether what the round started from is there: the projector, and the optimizer's state."""
    start = case.start(base.number + 1)
    if start is None or not start.is_whole:
        return False
    state, size_bytes = base.optimizer_state_digest, base.optimizer_state_size_bytes
    lost = f"The bytes of the optimizer's state of round {base.number} are not those that its manifest names."
    return not state or case.evidence.blob_holds(state, size_bytes=size_bytes, meaning=lost)


def _recompute(case: Case, roster: Roster, contributions: list[Contribution], *, verdict: Verdict) -> bool:
    published = case.ledger.manifest(case.name, roster.round)
    try:
        again = recomputed(
            case.ledger,
            roster,
            contributions,
            verdict=verdict,
            memory_budget_bytes=case.memory_budget_bytes,
            scratch=case.scratch,
        )
    except InvariantBroken as error:
        if any(exists(case.evidence.store, keys.removal(case.name, number)) for _, number in trained(roster)):
            case.findings.remark(f"Round {roster.round} was not recomputed: its deltas were removed meanwhile.")
            return False
        _cannot_have_come(case, roster.round, error)
        return True
    if 0 < again.deviation <= again.manifest.tolerance:
        case.findings.remark(
            f"Projector {roster.round} is the one recomputed within {again.deviation:.3g} of its tensors' largest "
            f"values; its rule declares {again.manifest.tolerance:.3g}."
        )
        _compare(case, published, again.manifest, leaving=("digest", "optimizer_state_digest"))
    else:
        _compare(case, published, again.manifest, leaving=())
    return True


def _cannot_have_come(case: Case, number: int, error: InvariantBroken) -> None:
    case.findings.broke(
        keys.projector(case.name, number),
        expected="a projector that its round gives",
        found=str(error),
        meaning=f"Projector {number} cannot have come from its round.",
    )


def _documented(
    case: Case, roster: Roster, contributions: list[Contribution], *, verdict: Verdict
) -> ProjectorManifest:
    """The manifest of a round whose deltas are gone: what documents say, the published digests taken as they are."""
    published, base = case.ledger.manifest(case.name, roster.round), case.ledger.manifest(case.name, roster.round - 1)
    state = published.optimizer_state_digest
    if published.abandoned:  # a sum that was refused; why was told when its bytes were there
        refused = published.remark.removesuffix(REVEALED)
        return manifest_of(
            case.record, base, roster, aggregated=None, contributions=contributions, verdict=verdict, refused=refused
        )
    aggregated = Aggregated(
        Written(published.digest, published.size_bytes),
        Written(state, published.optimizer_state_size_bytes) if state else None,
    )
    return manifest_of(case.record, base, roster, aggregated=aggregated, contributions=contributions, verdict=verdict)


def _compare(
    case: Case, published: ProjectorManifest, expected: ProjectorManifest, *, leaving: tuple[str, ...]
) -> None:
    number = published.number
    for field in dataclasses.fields(ProjectorManifest):
        name = field.name
        if name in leaving:
            continue
        what = "is not what its roster gives" if name in _RESULTS else f"says {name} otherwise than its round does"
        case.findings.agree(
            keys.projector(case.name, number),
            expected=_named(name, getattr(expected, name)),
            found=_named(name, getattr(published, name)),
            meaning=f"Projector {number} {what}.",
        )


def _named(name: str, value: object) -> str:
    return f"{name} {(value.hex() or 'none') if isinstance(value, bytes) else value}"
