"""Bytes of strangers that fuzzing found to come out as an error that nobody names: each gets its typed one."""

import base64
import json

import pytest

from aggregator.ledger.canonical import fields_of
from isthmus.addresses import parse_address
from isthmus.certificates import read_certificate
from isthmus.errors import AggregatorUntrusted, ConfigInvalid, InvariantBroken
from isthmus.invitation import Invitation, invitation_text, parse_invitation
from isthmus.v1 import projector_pb2
from isthmus.wire import manifest_from_proto, receipt_from_proto
from tests import pki
from tests.ledgers import START

EXTENSION_TWICE = (b"\x06\x03\x55\x1d\x11", b"\x06\x03\x55\x1d\x25")
UNKNOWN_KEY = (bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0209"))
UNKNOWN_VERSION = (bytes.fromhex("a003020102"), bytes.fromhex("a003020107"))


@pytest.mark.parametrize("change", [EXTENSION_TWICE, UNKNOWN_KEY, UNKNOWN_VERSION])
def test_odd_certificate_is_no_certificate(change: tuple[bytes, bytes]) -> None:
    """An extension that is there twice, a kind of key or a version that nobody knows: refused, no internal error."""
    der = pki.silo("north").certificate.der
    assert change[0] in der

    with pytest.raises(ConfigInvalid, match="This is no X"):
        read_certificate(der.replace(*change))


def test_invitation_without_a_time_zone_is_damaged() -> None:
    """An instant that no clock can be compared with is told as the damage that it is."""
    text = invitation_text(Invitation("a:1", "a:2", "f", "north", START, b"s" * 32))
    prefix, _, encoded = text.partition(".")
    fields = json.loads(base64.urlsafe_b64decode(encoded + "=="))
    fields["expires_at"] = "2026-03-01T12:00:00"
    bent = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    with pytest.raises(ConfigInvalid, match="damaged"):
        parse_invitation(f"{prefix}.{bent}")


def test_invitation_is_found_in_what_was_printed_around_it() -> None:
    """Whoever kept all that `isthmus silo invite` printed, or whose mail broke the line, has the invitation."""
    invitation = Invitation("a:1", "a:2", "f", "north", START, b"s" * 32)
    text = invitation_text(invitation)

    printed = f"Silo north is invited.\n\nisthmus silo enrol --token {text[:40]}\n {text[40:]}\n\n"

    assert parse_invitation(printed) == invitation
    with pytest.raises(ConfigInvalid, match="nothing in it begins with"):
        parse_invitation("hello")


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 10**12])
def test_instant_outside_every_calendar_is_not_believed(seconds: int) -> None:
    """An aggregator that says such an instant is told apart from one that is away: nothing is repeated."""
    manifest, receipt = projector_pb2.ProjectorManifest(), projector_pb2.Receipt()
    manifest.cut_at.seconds = receipt.admitted_at.seconds = seconds

    with pytest.raises(AggregatorUntrusted, match="instant"):
        manifest_from_proto(manifest)
    with pytest.raises(AggregatorUntrusted, match="instant"):
        receipt_from_proto(receipt)


def test_document_of_brackets_is_damaged() -> None:
    """A document of the store that nests without end is damage like any other."""
    with pytest.raises(InvariantBroken, match="damaged"):
        fields_of(b"[" * 100_000)


def test_port_of_many_digits_is_no_port() -> None:
    """A port of thousands of digits is told like any other that is none."""
    with pytest.raises(ConfigInvalid, match="is no number"):
        parse_address("a.example:" + "9" * 5000)
