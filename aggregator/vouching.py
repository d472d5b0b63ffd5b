"""Who may vouch for callers, and whether one does: the certificates in `client_authorities`, read when they change.

An authority whose certificate names a trust domain (a SPIFFE URI without a path) vouches for that domain alone, and
nobody else does for it: a consortium's member with an authority of its own cannot make operators or other sites' silos.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from aggregator.setup import read_pem
from isthmus.certificates import Certificate, read_certificate
from isthmus.errors import ConfigInvalid, IdentityInvalid
from isthmus.spiffe import SpiffeId

_REMEMBERED = 4096
_SCHEME = "spiffe://"


@dataclass(frozen=True, slots=True, eq=False)
class _Bundle:
    """The authorities of one state of the file."""

    modified_ns: int
    pem: str
    authorities: tuple[x509.Certificate, ...]
    trust_domains: tuple[str, ...]
    """That of each authority; "" of one that names none."""


class Authorities:
    """The authorities in a PEM file.

    Args:
        path: The file.
        clock: The instant now, UTC.

    Raises:
        ConfigInvalid: The file cannot be read, or holds no certificate of an authority.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._bundle = _read(path)
        self._identify = lru_cache(_REMEMBERED)(self._identified)

    @property
    def pem(self) -> str:
        """All of them, as they are now; where the file was damaged since, as they were before."""
        return self._current().pem

    def identify(self, der: bytes, *, shook_hands: bool) -> Certificate:
        """The caller's certificate, if it is valid now and one of the authorities may vouch for whom it names.

        Args:
            der: As the caller presented it.
            shook_hands: TLS has found already that some authority vouches for it, itself or through intermediates.

        Raises:
            IdentityInvalid: It does not name exactly one SPIFFE URI, has expired, or nobody may vouch for it.
        """
        certificate = self._identify(der, shook_hands, self._current())
        now = self._clock()
        if not certificate.not_before <= now <= certificate.not_after:
            raise IdentityInvalid(
                f"The certificate of {certificate.spiffe_id} is valid from {certificate.not_before:%Y-%m-%d %H:%M} to "
                f"{certificate.not_after:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}. Renew it.",
                check="expired",
            )
        return certificate

    def _current(self) -> _Bundle:
        with self._lock:
            try:
                if self._path.stat().st_mtime_ns != self._bundle.modified_ns:
                    self._bundle = _read(self._path)
            except (OSError, ConfigInvalid):
                pass  # in the middle of being replaced, or damaged: what was trusted goes on being trusted
            return self._bundle

    def _identified(self, der: bytes, shook_hands: bool, bundle: _Bundle) -> Certificate:
        certificate = read_certificate(der)
        who = certificate.spiffe_id
        loaded = x509.load_der_x509_certificate(der)
        may_vouch = _may_vouch(bundle, who)
        through_intermediates = shook_hands and who.trust_domain not in bundle.trust_domains
        if not may_vouch or not (through_intermediates or any(_issued(loaded, one) for one in may_vouch)):
            raise IdentityInvalid(
                f"No authority that this aggregator trusts for {_SCHEME}{who.trust_domain} vouches for {who}.",
                check="authority",
            )
        return certificate


def _may_vouch(bundle: _Bundle, who: SpiffeId) -> list[x509.Certificate]:
    """The authorities of the trust domain; where none names it, those that name none."""
    wanted = who.trust_domain if who.trust_domain in bundle.trust_domains else ""
    pairs = zip(bundle.authorities, bundle.trust_domains, strict=True)
    return [authority for authority, domain in pairs if domain == wanted]


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _read(path: Path) -> _Bundle:
    modified_ns = path.stat().st_mtime_ns if path.exists() else 0
    pem = read_pem(path)
    try:
        authorities = tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError as error:
        raise ConfigInvalid(f"{path}, named by client_authorities, holds no certificate in PEM: {error}.") from error
    domains = tuple(map(_trust_domain, authorities))
    return _Bundle(modified_ns, pem, authorities, domains)


def _trust_domain(authority: x509.Certificate) -> str:
    try:
        names = authority.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0].removeprefix(_SCHEME) if len(uris) == 1 and "/" not in uris[0].removeprefix(_SCHEME) else ""
