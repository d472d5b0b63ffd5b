"""Whether what a silo holds a receipt for is in the store, and counted."""

import dataclasses

from aggregator.ledger import keys
from aggregator.ledger.documents import Contribution, RosterEntry
from aggregator.verifying.case import Case
from isthmus.contribution import Receipt
from isthmus.spec import NAME_PATTERN


def check_receipt(case: Case, receipt: Receipt) -> None:
    """Checks a receipt against the contribution that it is for, and against the roster that counts it."""
    whose = f"Silo {receipt.silo[:63]} holds a receipt of round {receipt.round}"
    if receipt.federation != case.name or not NAME_PATTERN.fullmatch(receipt.silo):
        case.findings.broke(
            keys.federation_file(case.name),
            expected=f"federation {receipt.federation}, silo {receipt.silo}",
            found=f"federation {case.name}",
            meaning=f"{whose} of another federation.",
        )
        return
    key = keys.contribution(case.name, receipt.round, receipt.silo)
    contribution = case.evidence.document(key, Contribution.from_json, meaning=f"{whose}; what it contributed is lost.")
    if contribution is None:
        return
    for field in dataclasses.fields(Receipt):
        case.findings.agree(
            key,
            expected=f"{field.name} {_shown(getattr(receipt, field.name))}",
            found=f"{field.name} {_shown(getattr(contribution.receipt, field.name))}",
            meaning=f"{whose} that says otherwise.",
        )
    _check_counted(case, receipt, contribution, whose=whose)


def _check_counted(case: Case, receipt: Receipt, contribution: Contribution, *, whose: str) -> None:
    roster = case.roster(receipt.round)
    if roster is None:
        if receipt.round > case.latest:
            case.findings.remark(f"{whose}, which is not cut yet: the contribution is there and will be counted.")
        return
    if RosterEntry(contribution.silo, contribution.digest) not in roster.entries:
        case.findings.broke(
            keys.roster(case.name, receipt.round),
            expected=f"{receipt.silo} with a contribution of SHA-256 {contribution.digest.hex()}",
            found=", ".join(roster.silos) or "nobody",
            meaning=f"{whose}, and was not counted.",
        )


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
