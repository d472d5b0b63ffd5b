"""What a certificate says: whom it names, whose key it is for, from when until when, what for. Reads alone."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from isthmus.errors import ConfigInvalid
from isthmus.spiffe import SpiffeId, the_only

_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for a certificate that is none, or is of a kind that it does not read."""

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate.

    Attributes:
        der: Its bytes.
        not_before: From when it is valid, UTC.
        not_after: Until when.
        names: DNS names and IP addresses.
        uris: URIs.
        key_sha256: Hex SHA-256 of its public key (SubjectPublicKeyInfo, DER).
        is_authority: Whether it may vouch for others.
        is_self_issued: Whether subject and issuer are the same.
        usages: Names of what it is for, for example "clientAuth"; empty: it does not say.
    """

    der: bytes
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    uris: tuple[str, ...]
    key_sha256: str
    is_authority: bool
    is_self_issued: bool
    usages: tuple[str, ...]

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return x509.load_der_x509_certificate(self.der).public_bytes(serialization.Encoding.PEM).decode()

    @property
    def issuer(self) -> str:
        """Who issued it, by name."""
        return x509.load_der_x509_certificate(self.der).issuer.rfc4514_string() or "nobody by name"

    @property
    def subject(self) -> str:
        """What it is called; names and URIs say who it is."""
        return x509.load_der_x509_certificate(self.der).subject.rfc4514_string() or "nobody by name"

    @property
    def spiffe_id(self) -> SpiffeId:
        """Whom it names.

        Raises:
            IdentityInvalid: It does not name exactly one SPIFFE URI of the right form.
        """
        return the_only(self.uris)


def read_certificate(der: bytes) -> Certificate:
    """The certificate in these DER bytes.

    Raises:
        ConfigInvalid: They are no X.509 certificate.
    """
    try:
        return _read(x509.load_der_x509_certificate(der))
    except _MALFORMED as error:
        raise ConfigInvalid(f"This is no X.509 certificate: {error}.") from error


def read_certificates(pem: str, *, where: str) -> list[Certificate]:
    """Every certificate of a PEM text, in order; at least one.

    Raises:
        ConfigInvalid: There is none, or one is malformed.
    """
    try:
        return [_read(found) for found in x509.load_pem_x509_certificates(pem.encode())]
    except _MALFORMED as error:
        raise ConfigInvalid(f"{where} holds no certificate in PEM that can be read: {error}.") from error


def is_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether the issuer's name and key are those that the certificate was signed with."""
    one, other = (x509.load_der_x509_certificate(each.der) for each in (certificate, issuer))
    try:
        one.verify_directly_issued_by(other)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def key_digest(public_der: bytes) -> str:
    """Hex SHA-256 of a public key's SubjectPublicKeyInfo, DER."""
    return hashlib.sha256(public_der).hexdigest()


def _read(found: x509.Certificate) -> Certificate:
    alternative = _extension(found, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    if isinstance(alternative, x509.SubjectAlternativeName):
        addresses = (str(one) for one in alternative.get_values_for_type(x509.IPAddress))
        names = (*alternative.get_values_for_type(x509.DNSName), *addresses)
        uris = tuple(alternative.get_values_for_type(x509.UniformResourceIdentifier))
    basic = _extension(found, ExtensionOID.BASIC_CONSTRAINTS)
    usage = _extension(found, ExtensionOID.EXTENDED_KEY_USAGE)
    public = found.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Certificate(
        der=found.public_bytes(serialization.Encoding.DER),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        names=names,
        uris=uris,
        key_sha256=key_digest(public),
        is_authority=isinstance(basic, x509.BasicConstraints) and basic.ca,
        is_self_issued=found.subject == found.issuer,
        usages=tuple(oid._name for oid in usage) if isinstance(usage, x509.ExtendedKeyUsage) else (),
    )


def _extension(found: x509.Certificate, oid: x509.ObjectIdentifier) -> x509.ExtensionType | None:
    try:
        return found.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
