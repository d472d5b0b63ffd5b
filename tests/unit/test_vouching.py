"""Who may vouch for whom: each trust domain's authority for its own, in the dates that a certificate names."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggregator.vouching import Authorities
from isthmus.authority import Authority, new_authority
from isthmus.certificates import read_certificates
from isthmus.errors import ConfigInvalid, IdentityInvalid
from isthmus.keys import new_tls_key
from isthmus.spiffe import parse_spiffe

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OURS, THEIRS = new_authority("ours", now=NOW), new_authority("theirs", now=NOW)


def issued(authority: Authority, uri: str, *, days: float = 1.0) -> bytes:
    """The certificate, DER, that an authority issues."""
    pem = authority.issue_client(new_tls_key().private.public_key(), parse_spiffe(uri), now=NOW, days=days)
    return read_certificates(pem, where="it")[0].der


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A file with both authorities."""
    file = tmp_path / "authorities.pem"
    file.write_text(OURS.pem + THEIRS.pem)
    return file


@pytest.mark.parametrize("shook_hands", [True, False])
@pytest.mark.parametrize(
    ("authority", "uri", "vouched"),
    [
        (OURS, "spiffe://ours/a", True),
        (THEIRS, "spiffe://theirs/a", True),
        (THEIRS, "spiffe://ours/operator/mallory", False),
        (OURS, "spiffe://theirs/a", False),
        (OURS, "spiffe://elsewhere/a", False),
        (new_authority("ours", now=NOW), "spiffe://ours/a", False),
    ],
)
def test_authority_vouches_for_its_trust_domain_alone(
    bundle: Path, *, authority: Authority, uri: str, vouched: bool, shook_hands: bool
) -> None:
    """A member's authority makes neither operators nor other members' silos, whatever TLS let through."""
    authorities = Authorities(bundle, clock=lambda: NOW)

    if vouched:
        assert uri == str(authorities.identify(issued(authority, uri), shook_hands=shook_hands).spiffe_id)
    else:
        with pytest.raises(IdentityInvalid, match="No authority"):
            authorities.identify(issued(authority, uri), shook_hands=shook_hands)


def test_certificate_ends_while_its_connection_goes_on(bundle: Path) -> None:
    """TLS looks at the dates once; every call looks again."""
    clock = [NOW]
    authorities = Authorities(bundle, clock=lambda: clock[0])
    der = issued(OURS, "spiffe://ours/a", days=1)
    assert authorities.identify(der, shook_hands=True)

    clock[0] = NOW + timedelta(days=1, seconds=1)

    with pytest.raises(IdentityInvalid, match="Renew it") as caught:
        authorities.identify(der, shook_hands=True)
    assert "expired" == caught.value.details["check"]


def test_damaged_bundle_changes_nothing(bundle: Path) -> None:
    """A file in the middle of being copied neither lets in nor locks out; a whole one is taken up."""
    authorities = Authorities(bundle, clock=lambda: NOW)
    der = issued(THEIRS, "spiffe://theirs/a")
    bundle.write_text("-----BEGIN CERT")
    assert authorities.identify(der, shook_hands=False)

    bundle.write_text(OURS.pem)

    with pytest.raises(IdentityInvalid):
        authorities.identify(der, shook_hands=False)


def test_certificate_or_authority_of_an_unknown_kind_vouches_for_nobody(tmp_path: Path) -> None:
    """A signature or a key of a kind that the library does not know is a refusal in words, not a crash."""
    der = issued(OURS, "spiffe://ours/a")
    ecdsa_with_sha256, unknown = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040363")
    file = tmp_path / "authorities.pem"
    file.write_text(OURS.pem)

    with pytest.raises(IdentityInvalid, match="No authority"):
        Authorities(file, clock=lambda: NOW).identify(der.replace(ecdsa_with_sha256, unknown), shook_hands=False)


@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_bundle_without_an_authority_is_refused_at_the_start(tmp_path: Path, content: str) -> None:
    """The aggregator does not start to trust nobody."""
    file = tmp_path / "authorities.pem"
    file.write_text(content)

    with pytest.raises(ConfigInvalid, match=r"authorities\.pem"):
        Authorities(file, clock=lambda: NOW)
