"""Whether the two chains that run through a federation are whole: that of acts, and that of rounds that are over."""

import hashlib

from aggregator.ledger import chain, keys
from aggregator.ledger.acts import ActRecord
from aggregator.ledger.documents import manifest_to_json
from aggregator.ledger.round_records import RoundRecord
from aggregator.verifying.case import Case


def check_chains(case: Case) -> None:
    """Goes through both, record by record; behind the first that is broken nothing of that chain is judged."""
    # Rounds are listed first: an act that a round's record names was there before the record was.
    numbers = sorted(int(name) for name in case.evidence.names(keys.round_records(case.name)) if name.isdecimal())
    digests = _check_acts(case)
    previous = ""
    for number in range(1, max(numbers, default=0) + 1):
        key = keys.round_record(case.name, number)
        meaning = f"What is on record of round {number} cannot be trusted: something was changed or taken out."
        content = case.evidence.content(key)
        if content is None:
            case.evidence.missing(key, meaning=meaning)
            return
        record = case.evidence.parsed(key, content, RoundRecord.from_json, meaning=meaning)
        if record is None or not _round_fits(case, record, number, previous=previous, acts=digests):
            return
        previous = hashlib.sha256(content).hexdigest()
    if case.latest > max(numbers, default=0):
        first = max(numbers, default=0) + 1
        case.findings.remark(
            f"Rounds {first} to {case.latest} are not on record yet; the next replica that advances does."
        )


def _check_acts(case: Case) -> set[str]:
    """The digests of all acts that stand, those behind the first that is broken too: rounds' records name them."""
    found = list(chain.numbered(case.evidence.store, keys.acts(case.name)))
    _check_links(case, found)
    contents = (case.evidence.content(key) for _, key in found)
    return {hashlib.sha256(content).hexdigest() for content in contents if content is not None}


def _check_links(case: Case, listed: list[tuple[int, str]]) -> None:
    previous = ""
    for sequence in range(listed[-1][0] + 1 if listed else 0):
        key = keys.act(case.name, sequence)
        meaning = "The record of what operators and silos asked for is broken here: something was changed or taken out."
        record = case.evidence.document(key, ActRecord.from_json, meaning=meaning)
        if record is None:
            return
        expected, found = (sequence, previous), (record.sequence, record.previous)
        if not case.findings.agree(key, expected=expected, found=found, meaning=meaning):
            return
        previous = record.digest


def _round_fits(case: Case, record: RoundRecord, number: int, *, previous: str, acts: set[str]) -> bool:
    """Whether a record is the next of its chain and names what stands."""
    key = keys.round_record(case.name, number)
    roster, manifest = case.roster(number), case.manifest(number)
    if roster is None or manifest is None:
        return True  # told with its round
    expected = {
        "round": number,
        "previous": previous,
        "roster": roster.digest.hex(),
        "manifest": hashlib.sha256(manifest_to_json(manifest)).hexdigest(),
        "projector": manifest.digest.hex(),
        "reason": roster.reason,
        "silos": roster.silos,
    }
    found = {name: getattr(record, name) for name in expected}
    meaning = f"What is on record of round {number} is not what stands: one of the two was changed."
    if not case.findings.agree(key, expected=expected, found=found, meaning=meaning):
        return False
    if record.last_act and record.last_act not in acts:
        lost = f"When round {number} was put on record, an act stood that does not stand now."
        case.findings.broke(keys.act(case.name, len(acts)), expected=record.last_act, found="no such act", meaning=lost)
    for silo, digest in record.last_refusals.items():
        _check_refusal(case, number, silo=silo, digest=digest)
    return True


def _check_refusal(case: Case, number: int, *, silo: str, digest: str) -> None:
    prefix = keys.audit(case.name, number, silo)
    names = [name for name in case.evidence.names(prefix) if name.isdecimal()]
    for name in names:
        content = case.evidence.content(f"{prefix}/{name}.json")
        if content is not None and hashlib.sha256(content).hexdigest() == digest:
            return
    key = keys.refusal(case.name, number, silo, sequence=len(names))
    meaning = f"When round {number} was put on record, a refusal of silo {silo} stood that does not stand now."
    case.findings.broke(key, expected=f"a refusal with SHA-256 {digest}", found="none", meaning=meaning)
