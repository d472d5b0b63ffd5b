"""SPIFFE identifiers: who a silo or an operator is, as the URI in its certificate. Pure.

Source: SPIFFE-ID standard, section 2. Stricter in one point: letters are lower case alone, so that no two spellings
name one silo.
"""

import re
from dataclasses import dataclass

from isthmus.errors import IdentityInvalid
from isthmus.foreign import shown
from isthmus.spec import NAME_PATTERN

MAX_CHARACTERS = 2048

_SCHEME = "spiffe://"
TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """One identifier; `str` gives the URI."""

    trust_domain: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return _SCHEME + "/".join((self.trust_domain, *self.path))

    @property
    def is_operator(self) -> bool:
        """Whether it has the form of an operator's."""
        return len(self.path) == 2 and self.path[0] == "operator"


def parse_spiffe(uri: str) -> SpiffeId:
    """The identifier in this URI.

    Raises:
        IdentityInvalid: It is none: another scheme, a port, a query, an empty or relative segment, upper case.
    """
    if not uri.startswith(_SCHEME) or len(uri) > MAX_CHARACTERS:
        raise _invalid(uri, "it does not begin with spiffe://" if len(uri) <= MAX_CHARACTERS else "it is too long")
    trust_domain, *path = uri.removeprefix(_SCHEME).split("/")
    if not TRUST_DOMAIN.fullmatch(trust_domain):
        raise _invalid(uri, "its trust domain is not of a-z, 0-9, '.', '-' and '_'")
    if not path:
        raise _invalid(uri, "it names a trust domain and nobody in it")
    for segment in path:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise _invalid(uri, "a part of its path is empty, relative, or not of a-z, 0-9, '.', '-' and '_'")
    return SpiffeId(trust_domain, tuple(path))


def silo_spiffe_id(trust_domain: str, *, federation: str, silo: str) -> SpiffeId:
    """Who the certificates say a silo is that this aggregator's own authority issues."""
    return SpiffeId(trust_domain, ("federation", federation, "silo", silo))


def operator_spiffe_id(trust_domain: str, name: str) -> SpiffeId:
    """Who an operator is.

    Raises:
        IdentityInvalid: The name is none.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise _invalid(name, "an operator's name has 1 to 63 of a-z, 0-9 and -, and does not begin with -")
    return parse_spiffe(f"{_SCHEME}{trust_domain}/operator/{name}")


def the_only(uris: tuple[str, ...]) -> SpiffeId:
    """The identifier of a certificate with these URIs: the standard allows exactly one.

    Raises:
        IdentityInvalid: There is none, or several, or it is malformed.
    """
    if not uris:
        raise IdentityInvalid(
            "The certificate names no SPIFFE URI, and its common name is never read. Have one issued that does.",
            check="spiffe_missing",
        )
    if len(uris) > 1:
        raise IdentityInvalid(
            f"The certificate names {len(uris)} URIs; a silo is exactly one. Have one issued with a single SPIFFE URI.",
            check="spiffe_ambiguous",
            measured=len(uris),
            limit=1,
        )
    return parse_spiffe(uris[0])


def _invalid(uri: str, why: str) -> IdentityInvalid:
    return IdentityInvalid(f"{shown(uri)} is no SPIFFE identifier: {why}.", check="spiffe_malformed")
