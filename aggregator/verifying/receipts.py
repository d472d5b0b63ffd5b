"""Whether what a silo holds a receipt for is in the store, and counted."""

import dataclasses
from collections.abc import Sequence

from aggregator.ledger import keys
from aggregator.ledger.documents import Contribution, RosterEntry
from aggregator.verifying.case import Case
from isthmus.contribution import Receipt
from isthmus.signatures import is_signed, receipt_statement
from isthmus.spec import NAME_PATTERN


def check_receipt(case: Case, receipt: Receipt, *, aggregator_keys: Sequence[bytes] | None) -> None:
    """Checks a receipt against the contribution that it is for, and against the roster that counts it.

    Args:
        case: The federation.
        receipt: What a silo holds.
        aggregator_keys: Who signs receipts; None: not known, so that is not checked.
    """
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
    stands = dataclasses.replace(
        contribution.receipt, counted_in=receipt.counted_in, signature=receipt.signature
    )  # the roster's, and the aggregator's, to say
    for field in dataclasses.fields(Receipt):
        case.findings.agree(
            key,
            expected=f"{field.name} {_shown(getattr(receipt, field.name))}",
            found=f"{field.name} {_shown(getattr(stands, field.name))}",
            meaning=f"{whose} that says otherwise.",
        )
    _check_signature(case, receipt, key=key, aggregator_keys=aggregator_keys)
    _check_counted(case, receipt, contribution, whose=whose)


def _check_signature(case: Case, receipt: Receipt, *, key: str, aggregator_keys: Sequence[bytes] | None) -> None:
    whose = f"Silo {receipt.silo} holds a receipt of round {receipt.round}"
    if not receipt.signature:
        found, meaning = "one without a signature", f"{whose} that nobody signed: it proves nothing."
    elif aggregator_keys is None:
        case.findings.remark(
            "The receipts' signatures were not checked: name the aggregator's keys with --credentials or "
            "--aggregator-key."
        )
        return
    elif is_signed(receipt_statement(receipt), receipt.signature, by=aggregator_keys):
        return
    else:
        found, meaning = "one that it did not", f"{whose} that is forged, or of another aggregator."
    case.findings.broke(key, expected="a receipt that the aggregator signed", found=found, meaning=meaning)


def _check_counted(case: Case, receipt: Receipt, contribution: Contribution, *, whose: str) -> None:
    number = receipt.counted_in
    roster = case.roster(number) if number >= 1 else None
    if roster is None:
        if number > case.latest:
            case.findings.remark(f"{whose}, to be counted in round {number}, which is not cut yet.")
        return
    entry = RosterEntry(contribution.silo, contribution.digest, number - receipt.round)
    if entry not in roster.entries:
        case.findings.broke(
            keys.roster(case.name, number),
            expected=f"{receipt.silo} with a contribution of SHA-256 {contribution.digest.hex()}",
            found=", ".join(roster.silos) or "nobody",
            meaning=f"{whose}, and round {number} did not count it.",
        )


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
