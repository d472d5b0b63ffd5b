"""A certificate authority of one's own, for consortia that have none: it vouches for the aggregator, silos, operators.

Certificates follow RFC 5280 and the X.509-SVID standard of SPIFFE: one URI, who it is; no common name.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from isthmus.certificates import CLIENT, SERVER
from isthmus.errors import ConfigInvalid
from isthmus.keys import PublicKey, TlsKey, new_tls_key, read_tls_key
from isthmus.spiffe import SpiffeId

AUTHORITY_YEARS = 10
SERVER_DAYS = 365.0
OPERATOR_DAYS = 365.0

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*(?![0-9]+$){_LABEL}")
"""A host's name, or `*.` and a domain (RFC 6125); one whose last part is a number would be a wrong IP address."""
_MAX_NAME = 253

SKEW = timedelta(minutes=5)
"""Certificates begin so long before they are made: a site's clock may be behind."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates.

    Attributes:
        certificate: Its own.
        key: Its private key.
    """

    certificate: x509.Certificate
    key: TlsKey

    @property
    def pem(self) -> str:
        """Its certificate."""
        return _pem(self.certificate)

    def issue_server(self, key: TlsKey, hosts: Sequence[str], *, now: datetime, days: float = SERVER_DAYS) -> str:
        """A certificate for an aggregator that answers at these names and addresses; PEM."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._issued(key.private.public_key(), names, purpose=SERVER, now=now, days=days)

    def issue_client(self, public: PublicKey, who: SpiffeId, *, now: datetime, days: float) -> str:
        """A certificate for a silo or an operator; PEM. It ends with the authority's own at the latest."""
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(who))])
        return self._issued(public, uri, purpose=CLIENT, now=now, days=days)

    def _issued(
        self,
        public: PublicKey,
        names: x509.SubjectAlternativeName,
        *,
        purpose: x509.ObjectIdentifier,
        now: datetime,
        days: float,
    ) -> str:
        end = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        issuer_key = self.key.private.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Isthmus")]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(end)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )
        return _pem(builder.sign(self.key.private, hashes.SHA256()))


def new_authority(trust_domain: str, *, now: datetime) -> Authority:
    """A fresh authority for this trust domain, valid for ten years."""
    key = new_tls_key()
    public = key.private.public_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Isthmus"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Isthmus authority of {trust_domain}"[:64]),
        ]
    )
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=365 * AUTHORITY_YEARS))
        .add_extension(uri, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return Authority(builder.sign(key.private, hashes.SHA256()), key)


def load_authority(certificate_pem: bytes, key_pem: bytes, *, where: str) -> Authority:
    """The authority with this certificate and key.

    Raises:
        ConfigInvalid: One of them cannot be read, they do not belong together, or it may not issue certificates.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ConfigInvalid(f"{where} holds no certificate of an authority in PEM: {error}.") from error
    key = read_tls_key(key_pem, where=where)
    if certificate.public_key() != key.private.public_key():
        raise ConfigInvalid(f"The authority's certificate and key in {where} do not belong together.")
    if not basic.ca:
        raise ConfigInvalid(f"The certificate in {where} may not issue certificates: it is no authority's.")
    return Authority(certificate, key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        raise ConfigInvalid(
            f"{host[:80]!r} is no host's name or IP address. Write it as it stands in the aggregator's address, "
            "without tls:// and port, for example aggregator.example."
        )
    return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
