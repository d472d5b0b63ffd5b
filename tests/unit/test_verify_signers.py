"""`isthmus verify` and who signed: documents about identity that a forger wrote anew, sealed and whole, are named."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggregator.ledger import Ledger, enrolment, keys
from aggregator.stores.memory import MemoryStore
from aggregator.trust_domains import vouchers_in
from aggregator.verifying.findings import BrokenLink
from aggregator.verifying.verify import Trusted, Verdict, verify
from isthmus.authority import Authority, new_authority
from isthmus.certificates import read_certificate, read_certificates
from isthmus.keys import new_signing_key, new_tls_key
from isthmus.signatures import contribution_statement, public_key_of, signer
from isthmus.spiffe import SpiffeId, parse_spiffe, silo_spiffe_id
from tests import pki
from tests.ledgers import NAME, START, after, contribute, credential, credential_record, enrol, found, invitation
from tests.unit.test_certificate_kinds import STRANGE
from tests.verifying import TRUSTED, change, objects, receipt_of, store_with, verdict_of

A, B = (keys.credential(NAME, credential(silo)) for silo in "ab")
INVITED = {silo: invitation(silo).invitation_sha256 for silo in "abc"}
INVITATION = {silo: keys.invitation(NAME, name) for silo, name in INVITED.items()}
REDEEMED = {silo: keys.redemption(NAME, name) for silo, name in INVITED.items()}
CONTRIBUTION = keys.contribution(NAME, 1, "a")
OTHERS = credential_record(invitation("b"))
DAY = timedelta(days=1)

Forged = tuple[str, dict[str, object] | bytes]

REPLACED: dict[str, tuple[Forged, str]] = {
    "another signing key": ((A, {"signing_key": OTHERS.signing_key.hex()}), A),
    "no proof of the signing key": ((A, {"signing_key_proof": ""}), A),
    "another silo's certificate": ((A, {"certificate": OTHERS.certificate.hex()}), A),
    "another silo's certificate and its proof": (
        (A, {"certificate": OTHERS.certificate.hex(), "signing_key_proof": OTHERS.signing_key_proof.hex()}),
        A,
    ),
    "a certificate of an unknown kind": ((A, {"certificate": STRANGE["a curve"].hex()}), A),
    "no certificate": ((A, {"certificate": ""}), A),
    "another URI than the certificate's": ((A, {"spiffe_id": OTHERS.spiffe_id}), A),
    "a credential that is now another silo's": ((A, {"silo": "b"}), A),
    "another name in a credential": ((A, {"credential": credential("b")}), A),
    "enrolled before its certificate began": ((A, {"enrolled_at": (START - DAY).isoformat()}), A),
    "enrolled after its certificate ended": ((A, {"enrolled_at": (START + 2 * DAY).isoformat()}), A),
    "another silo's invitation in a credential": ((A, {"invitation_sha256": INVITED["b"]}), INVITATION["b"]),
    "an invitation that nobody gave": ((A, {"invitation_sha256": "ff" * 32}), keys.invitation(NAME, "ff" * 32)),
    "an invitation for another silo": ((INVITATION["a"], b"b"), INVITATION["a"]),
    "an invitation that was replaced, for another silo": ((INVITATION["c"], b"a"), INVITATION["c"]),
    "an invitation used with another key": ((REDEEMED["a"], {"signing_key": "ff" * 32}), REDEEMED["a"]),
    "an invitation used for no credential": ((REDEEMED["a"], {"credential": "ff" * 32}), REDEEMED["a"]),
    "an invitation used for what is no name": ((REDEEMED["a"], {"credential": "../.."}), REDEEMED["a"]),
    "an invitation used for another's credential": ((REDEEMED["a"], {"credential": credential("b")}), REDEEMED["a"]),
    "a use of another invitation": ((REDEEMED["a"], {"invitation_sha256": INVITED["b"]}), REDEEMED["a"]),
    "a silo under another's name": ((keys.silo(NAME, "a"), {"silo": "b"}), keys.silo(NAME, "a")),
    "a silo with another's invitation": (
        (keys.silo(NAME, "a"), {"invitation_sha256": INVITED["b"]}),
        INVITATION["b"],
    ),
    "a contribution by another's credential": ((CONTRIBUTION, {"credential": credential("b")}), CONTRIBUTION),
    "a contribution by no credential": ((CONTRIBUTION, {"credential": "../.."}), keys.credential(NAME, "../..")),
    "a contribution without a signature": ((CONTRIBUTION, {"signature": ""}), CONTRIBUTION),
    "a contribution with another nonce": ((CONTRIBUTION, {"nonce": "ff" * 16}), CONTRIBUTION),
}
"""What a forger replaces, and the first link that is named then."""

NOBODY_TELLS: dict[str, tuple[Forged, str]] = {
    "a replaced invitation of the same silo stands again": (
        (keys.silo(NAME, "c"), {"invitation_sha256": INVITED["c"]}),
        "as if the operator had never invited it anew; that it did is an act on record, for people to read",
    ),
    "an invitation that ends later": (
        (keys.silo(NAME, "a"), {"expires_at": after(9e6).isoformat()}),
        "nothing else holds its end, and it is used already",
    ),
    "a silo that was invited at another time": (
        (keys.silo(NAME, "a"), {"invited_at": after(-9).isoformat()}),
        "nothing else holds it, and nothing is proven with it",
    ),
    "a silo that enrolled at another time": (
        (A, {"enrolled_at": after(9).isoformat()}),
        "its certificate was valid then as well, and nothing else holds the instant",
    ),
}
"""What may be replaced without a contradiction, and why."""


def forge(store: MemoryStore, forged: Forged) -> list[BrokenLink]:
    """What is broken once a forger replaced it."""
    key, content = forged
    if isinstance(content, bytes):
        store.put(key, content)
    else:
        change(store, key, **content)
    return list(verdict_of(store).broken)


@pytest.fixture
def store() -> MemoryStore:
    """A store with every kind of object."""
    return store_with(objects())


@pytest.mark.parametrize("what", REPLACED)
def test_replaced_identity_is_named(store: MemoryStore, what: str) -> None:
    """A document about who somebody is, written anew so that its seal fits, is the first link that is named."""
    forged, named = REPLACED[what]

    assert named == forge(store, forged)[0].key


@pytest.mark.parametrize("what", NOBODY_TELLS)
def test_what_nothing_can_tell_is_no_broken_link(store: MemoryStore, what: str) -> None:
    """What an operator or a clock may leave as well is never called broken; each has its reason."""
    forged, reason = NOBODY_TELLS[what]

    assert [] == forge(store, forged)
    assert reason


@pytest.mark.parametrize("what", [what for what, (forged, named) in REPLACED.items() if A in (forged[0], named)])
def test_one_round_rests_on_its_signers(store: MemoryStore, what: str) -> None:
    """With one round named, the credentials behind its signatures are judged as well, and told once each."""
    forged, named = REPLACED[what]
    assert forge(store, forged)

    broken = verdict_of(store, only=1).broken
    assert named == broken[0].key
    assert len(broken) == len(set(broken))


def test_contribution_that_another_silo_signed_is_named(store: MemoryStore) -> None:
    """An enrolled silo that signs in another's name, with its own key and credential, proves nothing of the other."""
    contribution = Ledger(store).contribution(NAME, 1, "a")
    assert contribution is not None
    key_of_b = hashlib.sha256(b"signing b").digest()
    assert OTHERS.signing_key == public_key_of(key_of_b)
    signature = signer(key_of_b)(contribution_statement(contribution.header, silo="a"))

    first = forge(store, (CONTRIBUTION, {"credential": credential("b"), "signature": signature.hex()}))[0]
    assert (CONTRIBUTION, "a credential of silo b") == (first.key, first.found)


def test_forged_silo_is_named_by_the_authority_alone(store: MemoryStore) -> None:
    """A forger who makes a silo's keys, certificate, enrolment and signature fits all together but who vouched."""
    stranger = new_authority(pki.TRUST_DOMAIN, now=START)
    name = forged_silo(store, "a", authority=stranger, who=silo_spiffe_id(pki.TRUST_DOMAIN, federation=NAME, silo="a"))
    forged = keys.credential(NAME, name)

    known, unknown = judged(store, TRUSTED), judged(store, replace(TRUSTED, vouchers=None))
    assert (forged, True) == (known.broken[0].key, known.broken[0].meaning.startswith("Nobody vouched for silo a"))
    assert forged not in {link.key for link in unknown.broken}
    assert any("--authorities" in remark for remark in unknown.remarks)


def forged_silo(store: MemoryStore, silo: str, *, authority: Authority, who: SpiffeId, by_uri: bool = False) -> str:
    """Gives a silo other keys, and its contribution to round 1 their signature; the new credential's name."""
    key, signing_key = new_tls_key(), new_signing_key()
    pem = authority.issue_client(key.private.public_key(), who, now=START, days=1)
    certificate = read_certificates(pem, where="it")[0]
    public = public_key_of(signing_key)
    record = replace(
        credential_record(invitation(silo)),
        credential=enrolment.credential_names(certificate)[by_uri],
        spiffe_id=str(who),
        signing_key=public,
        certificate=certificate.der,
        signing_key_proof=key.prove(public, federation=NAME),
    )
    store.delete(keys.credential(NAME, credential(silo)))
    store.delete(REDEEMED[silo])
    enrolment.redeem(store, NAME, record)
    contribution = Ledger(store).contribution(NAME, 1, silo)
    assert contribution is not None
    signature = signer(signing_key)(contribution_statement(contribution.header, silo=silo))
    change(store, keys.contribution(NAME, 1, silo), credential=record.credential, signature=signature.hex())
    return record.credential


def judged(store: MemoryStore, trusted: Trusted) -> Verdict:
    """What verifying finds for somebody who trusts these."""
    with tempfile.TemporaryDirectory() as scratch:
        return verify(store, NAME, trusted=trusted, memory_budget_bytes=16 << 20, scratch=Path(scratch))


OWN_PKI = parse_spiffe("spiffe://hospital.example/imaging/7")
HOSPITAL = new_authority("hospital.example", now=START)
NAMELESS = parse_spiffe("spiffe://elsewhere.example/imaging/7")


@pytest.mark.parametrize(
    ("who", "authority", "pems", "holds"),
    [
        (OWN_PKI, HOSPITAL, [pki.authority, lambda: HOSPITAL], True),
        (OWN_PKI, HOSPITAL, [lambda: HOSPITAL, pki.authority], True),
        (OWN_PKI, HOSPITAL, [pki.authority], False),
        (NAMELESS, HOSPITAL, [pki.authority, lambda: HOSPITAL], False),
        (OWN_PKI, new_authority("hospital.example", now=START), [pki.authority, lambda: HOSPITAL], False),
    ],
    ids=["both", "in any order", "the aggregator's alone", "beyond its trust domain", "a namesake"],
)
def test_silo_with_a_pki_of_its_own_is_judged_by_its_authority(
    who: SpiffeId, authority: Authority, pems: list[Callable[[], Authority]], *, holds: bool
) -> None:
    """An authority that is named vouches for its silos, by the aggregator's rule: for its own trust domain alone."""
    store = MemoryStore()
    ledger = Ledger(store)
    found(ledger)
    contribute(ledger, "a")
    contribute(ledger, "b")
    name = forged_silo(store, "a", authority=authority, who=who, by_uri=True)
    vouchers = vouchers_in("".join(one().pem for one in pems), where="them")

    broken = judged(store, replace(TRUSTED, vouchers=vouchers)).broken
    assert ([] if holds else [keys.credential(NAME, name)]) == [link.key for link in broken]


def test_renewed_credential_holds() -> None:
    """A credential that came by a renewal, later and with another TLS key, rests on the first use of its invitation."""
    ledger = Ledger(MemoryStore())
    found(ledger, silos=("b",))
    enrol(ledger, "a")
    first = credential_record(invitation("a"))
    key = new_tls_key()
    who = parse_spiffe(first.spiffe_id)
    pem = pki.authority().issue_client(key.private.public_key(), who, now=START + 9 * DAY, days=30)
    certificate = read_certificates(pem, where="it")[0]
    renewed = replace(
        first,
        credential=certificate.key_sha256,
        certificate=certificate.der,
        signing_key_proof=key.prove(first.signing_key, federation=NAME),
        enrolled_at=START + 9 * DAY,
    )
    enrolment.add_credential(ledger.store, NAME, renewed)
    assert () == verdict_of(ledger.store).broken

    ledger.store.delete(keys.credential(NAME, first.credential))

    assert [REDEEMED["a"]] == [link.key for link in verdict_of(ledger.store).broken]


@pytest.mark.parametrize("trusted", [TRUSTED, Trusted()])
def test_receipt_without_a_signature_is_named(store: MemoryStore, trusted: Trusted) -> None:
    """A receipt's file that nobody signed is a broken link, whether the aggregator's keys are known or not."""
    unsigned = replace(receipt_of("a", 1), signature=b"")
    with tempfile.TemporaryDirectory() as scratch:
        options = {"memory_budget_bytes": 16 << 20, "scratch": Path(scratch)}
        broken = verify(store, NAME, receipts=(unsigned,), trusted=trusted, **options).broken

    assert [(CONTRIBUTION, "one without a signature")] == [(link.key, link.found) for link in broken]


def test_certificates_of_these_tests_begin_with_the_federation() -> None:
    """The dates that are forged above lie outside the certificate's, and the others within."""
    certificate = read_certificate(credential_record(invitation("a")).certificate)

    assert certificate.not_before > START - DAY
    assert after(9) < certificate.not_after < START + 2 * DAY < datetime.now(UTC)
