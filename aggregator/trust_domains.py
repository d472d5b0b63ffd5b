"""Which authority may vouch for whom, and whether it did. Pure.

An authority whose certificate names a trust domain (a SPIFFE URI without a path) vouches for that domain alone, and
nobody else does for it: a consortium's member with an authority of its own cannot make operators or other sites' silos.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from isthmus.errors import ConfigInvalid
from isthmus.spiffe import SpiffeId

SCHEME = "spiffe://"


@dataclass(frozen=True, slots=True, eq=False)
class Vouchers:
    """Authorities that are trusted.

    Attributes:
        authorities: Their certificates.
        trust_domains: That of each authority; "" of one that names none.
    """

    authorities: tuple[x509.Certificate, ...]
    trust_domains: tuple[str, ...]

    def may_vouch(self, who: SpiffeId) -> list[x509.Certificate]:
        """The authorities of the trust domain; where none names it, those that name none."""
        wanted = who.trust_domain if who.trust_domain in self.trust_domains else ""
        pairs = zip(self.authorities, self.trust_domains, strict=True)
        return [authority for authority, domain in pairs if domain == wanted]

    def issued(self, der: bytes, who: SpiffeId) -> bool:
        """Whether one of those that may vouch for `who` issued the certificate in these bytes itself."""
        certificate = x509.load_der_x509_certificate(der)
        return any(_issued(certificate, authority) for authority in self.may_vouch(who))


def vouchers_in(pem: str, *, where: str) -> Vouchers:
    """The authorities in a PEM text, at least one.

    Raises:
        ConfigInvalid: There is none, or one is malformed; `where` names the text.
    """
    try:
        authorities = tuple(x509.load_pem_x509_certificates(pem.encode()))
        domains = tuple(map(_trust_domain, authorities))
    except Exception as error:  # each strange kind of certificate raises an error of its own
        raise ConfigInvalid(f"{where} holds no authority's certificate in PEM, or one that cannot be read.") from error
    return Vouchers(authorities, domains)


def _trust_domain(authority: x509.Certificate) -> str:
    try:
        names = authority.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0].removeprefix(SCHEME) if len(uris) == 1 and "/" not in uris[0].removeprefix(SCHEME) else ""


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
