"""Whether a contribution is signed by the silo that it names, and whether that silo's key was vouched for."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from aggregator.ledger import keys
from aggregator.ledger.canonical import fields_of
from aggregator.ledger.documents import Contribution
from aggregator.ledger.records import CredentialRecord
from aggregator.verifying.evidence import Evidence
from isthmus.certificates import Certificate, read_certificate
from isthmus.errors import IsthmusError
from isthmus.keys import is_proven, public_key_in
from isthmus.signatures import contribution_statement, is_signed

NOT_VOUCHED = (
    "Who vouched for the silos' certificates was not checked: name the authorities with --credentials, an operator's "
    "or a silo's file that lies elsewhere than the store."
)


def signature_holds(evidence: Evidence, contribution: Contribution, *, key: str) -> bool:
    """Whether the header is signed with the key of the credential that the contribution names.

    Args:
        evidence: Where everything stands.
        contribution: What is judged.
        key: Of its document.
    """
    header, silo = contribution.header, contribution.silo
    whose = f"The contribution of silo {silo} to round {header.round}"
    meaning = f"{whose} cannot be proven to be that silo's."
    name = keys.credential(header.federation, contribution.credential)
    credential = evidence.document(name, CredentialRecord.from_json, meaning=meaning)
    if credential is None:
        return False
    owner = evidence.findings.agree(
        name,
        expected=f"credential {contribution.credential} of silo {silo}",
        found=f"credential {credential.credential} of silo {credential.silo}",
        meaning=meaning,
    )
    signed = is_signed(contribution_statement(header, silo=silo), header.signature, by=(credential.signing_key,))
    return owner and evidence.findings.agree(
        key,
        expected=f"a header signed with the key {credential.signing_key.hex()}",
        found=f"a header {'' if signed else 'that is not '}signed with the key {credential.signing_key.hex()}",
        meaning=f"{whose} was changed or forged: that silo did not sign this.",
    )


def check_credential(
    evidence: Evidence, name: str, *, federation: str, authorities: Sequence[Certificate] | None
) -> None:
    """Checks one credential by itself: what it is called, its proof, who vouched for it, the invitation it came by.

    Args:
        evidence: Where everything stands.
        name: As its key names it.
        federation: Which federation.
        authorities: Who may vouch; None: not known, so that is not checked.
    """
    key = keys.credential(federation, name)
    meaning = "Whose this credential is cannot be trusted, nor what it signed."
    credential = evidence.document(key, CredentialRecord.from_json, meaning=meaning)
    if credential is None or not evidence.findings.agree(
        key, expected=name, found=credential.credential, meaning=meaning
    ):
        return
    _check_proof(evidence, key, credential, federation=federation, authorities=authorities)
    invitation = keys.invitation(federation, credential.invitation_sha256)
    evidence.findings.agree(
        invitation,
        expected=credential.silo,
        found=(evidence.content(invitation) or b"").decode(errors="replace"),
        meaning=f"The invitation by which silo {credential.silo} enrolled is another's, or lost.",
    )
    used = keys.redemption(federation, credential.invitation_sha256)
    fields = evidence.document(used, fields_of, meaning=f"With which keys silo {credential.silo} enrolled is lost.")
    if fields is not None:
        evidence.findings.agree(
            used,
            expected=f"signing key {credential.signing_key.hex()}",
            found=f"signing key {fields.get('signing_key')}",
            meaning=f"Silo {credential.silo} enrolled with other keys than this credential has.",
        )


def _check_proof(
    evidence: Evidence,
    key: str,
    credential: CredentialRecord,
    *,
    federation: str,
    authorities: Sequence[Certificate] | None,
) -> None:
    try:
        certificate = read_certificate(credential.certificate)
        public = public_key_in(credential.certificate)
        proven = is_proven(
            public, credential.signing_key_proof, signing_key=credential.signing_key, federation=federation
        )
        named = str(certificate.spiffe_id) == credential.spiffe_id
    except IsthmusError:
        proven = named = False
    if not proven or not named:
        evidence.findings.broke(
            key,
            expected=f"a certificate of {credential.spiffe_id} whose key proves the signing key",
            found="one that does not",
            meaning=f"What silo {credential.silo} signed with it cannot be proven to be its own.",
        )
    elif authorities is not None and not any(_issued(certificate, one) for one in authorities):
        evidence.findings.broke(
            key,
            expected="a certificate that one of the authorities issued",
            found=f"one of {credential.spiffe_id} that none of them did",
            meaning=f"Nobody vouched for silo {credential.silo}: whoever can write to the store may have made it.",
        )


def _issued(certificate: Certificate, authority: Certificate) -> bool:
    leaf, issuer = (x509.load_der_x509_certificate(one.der) for one in (certificate, authority))
    try:
        leaf.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
