"""Whether what the store holds of a masked round fits together: keys, vectors and seeds signed by the same silos.

That masks cancelled is told by the sum itself, which is opened once more with the round.
"""

import hashlib

from aggregator.ledger import keys
from aggregator.ledger.documents import Contribution, Roster
from aggregator.ledger.masking import FixedKeys, Opening, Seed
from aggregator.verifying.case import Case
from isthmus.secure_aggregation.keys import KeyRoster, Member, seed_statement
from isthmus.signatures import is_signed


def is_complete(case: Case, number: int) -> bool:
    """Whether a round's sum was to be opened."""
    key = keys.opening(case.name, number)
    content = case.evidence.content(key)
    if content is None:
        return False
    meaning = f"Whether the sum of round {number} was to be opened cannot be trusted."
    found = case.evidence.parsed(key, content, Opening.from_json, meaning=meaning)
    return found is not None and found.complete


def check_masked(case: Case, roster: Roster, contributions: list[Contribution]) -> bool:
    """Checks the documents of a round whose sum was opened; whether it can be opened again."""
    key, meaning = keys.key_roster(case.name, roster.round), f"Who was in the sum of round {roster.round} is not known."
    fixed = case.evidence.document(key, FixedKeys.from_json, meaning=meaning)
    if fixed is None:
        return False
    holds = case.findings.agree(
        key,
        expected=_place(case, roster.round, roster.silos),
        found=(fixed.roster.federation, fixed.roster.round, fixed.roster.base_digest, fixed.roster.silos),
        meaning=meaning,
    )
    if not holds:
        return False
    pairs = zip(fixed.roster.members, contributions, strict=True)
    judged = [_check_member(case, fixed.roster, member, contribution=one) for member, one in pairs]  # each is told of
    return all(judged)


def _place(case: Case, number: int, silos: tuple[str, ...]) -> tuple[object, ...]:
    base = case.manifest(number - 1)
    return case.name, number, base.digest if base else b"", silos


def _check_member(case: Case, roster: KeyRoster, member: Member, *, contribution: Contribution) -> bool:
    number, silo, header = roster.round, member.silo, contribution.header
    key = keys.seed(case.name, number, silo)
    meaning = f"The sum of round {number} cannot be opened as silo {silo} let it be."
    seed = case.evidence.document(key, Seed.from_json, meaning=meaning)
    if seed is None:
        return False
    said = seed_statement(
        federation=case.name, round_number=number, silo=silo, transcript=roster.transcript, seed=seed.seed
    )
    credential, revealed_with = (case.signers.credential(one.credential) for one in (contribution, seed))
    its_own = revealed_with is not None and revealed_with.silo == silo
    revealer = (revealed_with.signing_key,) if revealed_with and its_own else ()
    offered = roster.offer_of(member)
    facts = [
        ("a key signed by its silo", is_signed(offered.statement(silo), member.signature, by=(member.signing_key,))),
        ("the silo's own signing key", credential is not None and credential.signing_key == member.signing_key),
        ("a vector for this key roster", header.transcript == roster.transcript),
        ("the weight offered", header.num_examples == member.num_examples),
        ("the seed of its header", hashlib.sha256(seed.seed).digest() == header.seed_digest),
        ("a seed signed by its silo", is_signed(said, seed.signature, by=revealer)),
    ]
    return case.findings.agree(
        key,
        expected=[text for text, _ in facts],
        found=[text if fact else f"not {text}" for text, fact in facts],
        meaning=meaning,
    )
