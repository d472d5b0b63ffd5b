"""Certificates that a right aggregator turns away, each wrong in one way; genuine in every other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from isthmus.authority import Authority, new_authority
from isthmus.certificates import CLIENT, SERVER, read_certificates
from isthmus.credentials import Credentials
from isthmus.keys import TlsKey, new_tls_key
from tests import pki

DAY = timedelta(days=1)


def made(
    names: list[x509.GeneralName],
    *,
    like: Credentials,
    authority: Authority | None = None,
    common_name: str = "",
    start: timedelta = -DAY,
    end: timedelta = DAY,
    purpose: x509.ObjectIdentifier = CLIENT,
) -> Credentials:
    """Credentials whose certificate says just this; everything else is `like` a silo's."""
    issuer = authority or pki.authority()
    key, now = new_tls_key(), datetime.now(UTC)
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer.key.private, hashes.SHA256())
    return _with(like, key, certificate)


def uri(text: str) -> x509.GeneralName:
    """A URI among a certificate's names."""
    return x509.UniformResourceIdentifier(text)


def dns(text: str) -> x509.GeneralName:
    """A DNS name among a certificate's names."""
    return x509.DNSName(text)


def stranger() -> Authority:
    """An authority of the same name that nobody trusts."""
    return new_authority(pki.TRUST_DOMAIN, now=datetime.now(UTC))


def server_only(text: str, *, like: Credentials) -> Credentials:
    """A certificate for servers that names a silo."""
    return made([uri(text)], like=like, purpose=SERVER)


def _with(like: Credentials, key: TlsKey, certificate: x509.Certificate) -> Credentials:
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return replace(like, key=key, chain=tuple(read_certificates(pem, where="the battery's certificate")))
