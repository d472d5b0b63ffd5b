"""Whether what is on record of a silo's pushes to a round is whole, and fits what the silo contributed."""

import hashlib

from aggregator.ledger import keys
from aggregator.ledger.audit import AuditRecord, Trail, admission_document, trail_of
from aggregator.ledger.canonical import fields_of
from aggregator.ledger.documents import Contribution
from aggregator.stores import exists
from aggregator.verifying.evidence import Evidence


def check_trail(evidence: Evidence, trail: Trail, *, contribution: Contribution | None) -> None:
    """Checks a recorded admission against the contribution, and the chain of refusals link by link.

    Args:
        evidence: Where everything stands.
        trail: Whose pushes, to which round.
        contribution: What the silo contributed to the round; None where it did not, or that cannot be read.
    """
    content = evidence.content(keys.admission(trail.federation, trail.round, trail.silo))
    if content is not None:
        _check_admission(evidence, trail, content, contribution=contribution)
    _check_refusals(evidence, trail)


def check_admitted(evidence: Evidence, contribution: Contribution) -> None:
    """Checks that a contribution which a published roster counts is on record; what the record says is judged above."""
    trail = trail_of(contribution)
    key = keys.admission(trail.federation, trail.round, trail.silo)
    if not exists(evidence.store, key):
        whose = f"of silo {trail.silo} to round {trail.round}"
        evidence.missing(key, meaning=f"The delta {whose} was counted, and no record says that it was admitted.")


def _check_admission(evidence: Evidence, trail: Trail, content: bytes, *, contribution: Contribution | None) -> None:
    whose = f"of silo {trail.silo} to round {trail.round}"
    key = keys.admission(trail.federation, trail.round, trail.silo)
    meaning = f"The record of what was admitted {whose} cannot be trusted."
    if evidence.parsed(key, content, fields_of, meaning=meaning) is None:
        return
    if contribution is None:
        missing = keys.contribution(trail.federation, trail.round, trail.silo)
        if not exists(evidence.store, missing):
            evidence.missing(missing, meaning=f"A delta {whose} is on record as admitted; the contribution is gone.")
        return
    expected = admission_document(contribution)
    evidence.findings.agree(
        key,
        expected=f"a document with SHA-256 {hashlib.sha256(expected).hexdigest()}",
        found=f"a document with SHA-256 {hashlib.sha256(content).hexdigest()}",
        meaning=f"The record of what was admitted {whose} is not that of the contribution which stands.",
    )


def _check_refusals(evidence: Evidence, trail: Trail) -> None:
    """Names the first link of the chain that is broken; those behind it hang on it."""
    names = evidence.names(keys.audit(trail.federation, trail.round, trail.silo))
    numbers = sorted(int(name) for name in names if name.isdecimal())
    previous = ""
    whose = f"of silo {trail.silo} to round {trail.round}"
    for sequence in range(max(numbers, default=-1) + 1):
        key = keys.refusal(trail.federation, trail.round, trail.silo, sequence=sequence)
        meaning = f"The record of refused pushes {whose} is broken here: something was changed or taken out."
        record = evidence.document(key, AuditRecord.from_json, meaning=meaning)
        if record is None:
            return
        expected = {**trail.to_fields(), "previous": previous, "sequence": sequence}
        found = {name: record.fields.get(name) for name in expected}
        if not evidence.findings.agree(key, expected=expected, found=found, meaning=meaning):
            return
        previous = record.digest
