"""Whether a contribution is signed by the silo that it names, and whether that silo's key was vouched for."""

from aggregator.ledger import keys
from aggregator.ledger.canonical import fields_of
from aggregator.ledger.documents import Contribution
from aggregator.ledger.enrolment import credential_names
from aggregator.ledger.records import CredentialRecord
from aggregator.trust_domains import Vouchers
from aggregator.verifying.evidence import Evidence
from isthmus.certificates import Certificate, read_certificate
from isthmus.errors import IsthmusError
from isthmus.keys import is_proven, public_key_in
from isthmus.signatures import contribution_statement, is_signed

NOT_VOUCHED = (
    "Who vouched for the silos' certificates was not checked: name the authorities with --authorities, a file that "
    "lies elsewhere than the store."
)


class Signers:
    """The silos' credentials of one federation, each judged once, and what they signed.

    Args:
        evidence: Where everything stands.
        vouchers: Who may vouch for silos; None: not known, so that is not checked, and a remark says so.
    """

    def __init__(self, evidence: Evidence, *, vouchers: Vouchers | None) -> None:
        self._evidence = evidence
        self._vouchers = vouchers
        self._judged: dict[str, CredentialRecord | None] = {}

    def signed(self, contribution: Contribution, *, key: str) -> bool:
        """Whether the header is signed with the key of the credential that the contribution names.

        Args:
            contribution: What is judged.
            key: Of its document.
        """
        header, silo = contribution.header, contribution.silo
        whose = f"The contribution of silo {silo} to round {header.round}"
        credential = self.credential(contribution.credential)
        if credential is None:
            return False
        owner = self._evidence.findings.agree(
            key,
            expected=f"a credential of silo {silo}",
            found=f"a credential of silo {credential.silo}",
            meaning=f"{whose} cannot be proven to be that silo's.",
        )
        signed = is_signed(contribution_statement(header, silo=silo), header.signature, by=(credential.signing_key,))
        return owner and self._evidence.findings.agree(
            key,
            expected=f"a header signed with the key {credential.signing_key.hex()}",
            found=f"a header {'' if signed else 'that is not '}signed with the key {credential.signing_key.hex()}",
            meaning=f"{whose} was changed or forged: that silo did not sign this.",
        )

    def credential(self, name: str) -> CredentialRecord | None:
        """The credential of this name; None, and a broken link, where there is none that can be read.

        What is wrong with it is told when it is asked for first: its own name, the signing key's proof, who vouched
        for it and when, and the invitation that it came by.
        """
        if name not in self._judged:
            self._judged[name] = self._judge(name)
        return self._judged[name]

    def _judge(self, name: str) -> CredentialRecord | None:
        evidence, key = self._evidence, keys.credential(self._evidence.federation, name)
        meaning = "Whose this credential is cannot be trusted, nor what it signed."
        found = evidence.document(key, CredentialRecord.from_json, meaning=meaning)
        if found is None or not evidence.findings.agree(key, expected=name, found=found.credential, meaning=meaning):
            return None
        _check_certificate(evidence, key, found, vouchers=self._vouchers)
        _check_invitation(evidence, found)
        return found


def _check_certificate(
    evidence: Evidence, key: str, credential: CredentialRecord, *, vouchers: Vouchers | None
) -> None:
    """Checks that the certificate names the silo, was valid when it enrolled, proves its signing key, and by whom."""
    certificate = _read(credential.certificate)
    facts = [
        ("an X.509 certificate that names one SPIFFE URI", certificate is not None),
        (f"which is {credential.spiffe_id}", certificate is not None and _names(certificate, credential)),
        ("for a silo's own name", certificate is not None and _is_own(certificate, credential, evidence.federation)),
        (
            f"valid on {credential.enrolled_at:%Y-%m-%d %H:%M:%S} UTC, when silo {credential.silo} enrolled",
            certificate is not None and certificate.not_before <= credential.enrolled_at <= certificate.not_after,
        ),
        ("whose key proves the signing key", certificate is not None and _proves(credential, evidence.federation)),
    ]
    sound = evidence.findings.agree(
        key,
        expected=", ".join(text for text, _ in facts),
        found=", ".join(text if holds else f"not {text}" for text, holds in facts),
        meaning=f"What silo {credential.silo} signed with it cannot be proven to be its own.",
    )
    if vouchers is None:
        evidence.findings.remark(NOT_VOUCHED)
    elif sound and certificate is not None and not vouchers.issued(certificate.der, certificate.spiffe_id):
        evidence.findings.broke(
            key,
            expected=f"a certificate that an authority issued which may vouch for {credential.spiffe_id}",
            found="one that none of them did",
            meaning=f"Nobody vouched for silo {credential.silo}: whoever can write to the store may have made it.",
        )


def _read(der: bytes) -> Certificate | None:
    try:
        certificate = read_certificate(der)
        _ = certificate.spiffe_id
    except IsthmusError:
        return None
    return certificate


def _names(certificate: Certificate, credential: CredentialRecord) -> bool:
    return str(certificate.spiffe_id) == credential.spiffe_id


def _is_own(certificate: Certificate, credential: CredentialRecord, federation: str) -> bool:
    """Whether the credential's name is its certificate's, and one that the aggregator issued is for this silo."""
    by_key, by_uri = credential_names(certificate)
    own = certificate.spiffe_id.path == ("federation", federation, "silo", credential.silo)
    return credential.credential == by_uri or (credential.credential == by_key and own)


def _proves(credential: CredentialRecord, federation: str) -> bool:
    try:
        public = public_key_in(credential.certificate)
    except IsthmusError:
        return False
    return is_proven(public, credential.signing_key_proof, signing_key=credential.signing_key, federation=federation)


def _check_invitation(evidence: Evidence, credential: CredentialRecord) -> None:
    """Checks that the silo was invited, and that the invitation was used with this signing key and no other."""
    invitation = keys.invitation(evidence.federation, credential.invitation_sha256)
    evidence.findings.agree(
        invitation,
        expected=credential.silo,
        found=(evidence.content(invitation) or b"").decode(errors="replace"),
        meaning=f"The invitation by which silo {credential.silo} enrolled is another's, or lost.",
    )
    used = keys.redemption(evidence.federation, credential.invitation_sha256)
    fields = evidence.document(used, fields_of, meaning=f"With which keys silo {credential.silo} enrolled is lost.")
    if fields is not None:
        first = str(fields.get("credential"))
        evidence.findings.agree(
            used,
            expected=f"signing key {credential.signing_key.hex()}, credential that stands",
            found=f"signing key {fields.get('signing_key')}, credential that "
            + ("stands" if _stands(evidence, first, credential) else f"does not stand: {first}"),
            meaning=f"Silo {credential.silo} enrolled with other keys than this credential has.",
        )


def _stands(evidence: Evidence, first: str, credential: CredentialRecord) -> bool:
    """Whether the credential that an invitation was first used for is there, and came by it; renewals come after."""
    if first == credential.credential:
        return True
    content = evidence.content(keys.credential(evidence.federation, first))
    try:
        return content is not None and (
            CredentialRecord.from_json(content).invitation_sha256 == credential.invitation_sha256
        )
    except (IsthmusError, LookupError, TypeError, ValueError):
        return True  # it is there; what is wrong with it is told with itself
