"""Who may vouch for callers, and whether one does: the certificates in `client_authorities`, read when they change."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from aggregator.setup import read_pem
from aggregator.trust_domains import Vouchers, vouchers_in
from isthmus.certificates import Certificate, read_certificate
from isthmus.errors import ConfigInvalid, IdentityInvalid
from isthmus.foreign import quoted

_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, eq=False)
class _Bundle:
    """The authorities of one state of the file."""

    modified_ns: int
    pem: str
    vouchers: Vouchers


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
                f"The certificate of {quoted(str(certificate.spiffe_id))} is valid from "
                f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC, and it is "
                f"{now:%Y-%m-%d %H:%M}. Renew it.",
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
        vouchers = bundle.vouchers
        through_intermediates = shook_hands and who.trust_domain not in vouchers.trust_domains
        if not (through_intermediates and vouchers.may_vouch(who)) and not vouchers.issued(der, who):
            raise IdentityInvalid(
                f"No authority that this aggregator trusts for that trust domain vouches for {quoted(str(who))}.",
                check="authority",
            )
        return certificate


def _read(path: Path) -> _Bundle:
    modified_ns = path.stat().st_mtime_ns if path.exists() else 0
    pem = read_pem(path)
    return _Bundle(modified_ns, pem, vouchers_in(pem, where=f"{path}, named by client_authorities,"))
