"""Fuzz target: everything else that foreign bytes are read as; the first byte says what.

Only the errors that the reader names come out; what was read and is written again is read as the same.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from google.protobuf.message import DecodeError, Message

from aggregator.admission.header import judge_header
from aggregator.admission.signature import judge_signature
from aggregator.ledger.canonical import canonical, fields_of
from isthmus import errors
from isthmus.addresses import parse_address
from isthmus.answers import round_from_proto
from isthmus.certificates import Certificate, read_certificate, read_certificates
from isthmus.checking import require_receipt, require_signed_manifest
from isthmus.federation import parse_federation
from isthmus.invitation import Invitation, invitation_text, parse_invitation
from isthmus.keys import new_tls_key, public_key_in, requested_key
from isthmus.spiffe import parse_spiffe
from isthmus.v1 import aggregator_pb2, projector_pb2
from isthmus.wire import (
    header_from_proto,
    header_to_proto,
    instant_to_proto,
    manifest_from_proto,
    manifest_to_proto,
    receipt_from_proto,
    receipt_to_proto,
    spec_to_proto,
)
from tests import pki
from tests.hostile.forged import BASE_DIGEST, SPEC, delta_of, federation_of, header_of

WORDS = (
    *(
        b"isthmus1.",
        b"spiffe://",
        b"dns://",
        b"tls://",
        b"plaintext://",
        b"127.0.0.1:8443",
        b"[::1]:1",
        b",",
        b":65535",
    ),
    *(b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b'"seal":"'),
    *(
        b"rounds = 1\n",
        b"participation.silos = {min = 1, max = 2}\n",
        b"[admission]\n",
        b"[[",
        b"NaN",
        b"\x30\x82",
        b"\x02\x01",
    ),
)
"""What these texts and bytes are made of."""

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_INSTANT = instant_to_proto(NOW)
_KEY = b"k" * 32


@dataclass(frozen=True, slots=True)
class Reader:
    """One thing that foreign bytes are read as.

    Attributes:
        read: Reads them, and checks what it got.
        raises: What it may raise.
        seeds: Right ones.
    """

    read: Callable[[bytes], object]
    raises: tuple[type[errors.IsthmusError], ...]
    seeds: Callable[[], list[bytes]]


def run(data: bytes) -> None:
    """Has the reader that the first byte names read the rest."""
    reader = READERS[data[0] % len(READERS)] if data else READERS[0]
    with suppress(DecodeError, *reader.raises):  # what is no message at all gRPC finds before us
        reader.read(data[1:])


def seeds() -> Iterator[bytes]:
    """Right bytes for each reader."""
    for number, reader in enumerate(READERS):
        for seed in reader.seeds():
            yield bytes([number]) + seed


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _read_invitation(data: bytes) -> None:
    invitation = parse_invitation(_text(data))
    assert invitation == parse_invitation(invitation_text(invitation))
    assert invitation.expires_at < NOW or invitation.expires_at >= NOW  # it can be compared with a clock's instant


def _read_certificate(data: bytes) -> None:
    certificate = read_certificate(data)
    assert [certificate] == read_certificates(certificate.pem, where="here")
    public_key_in(certificate.der)
    _ = certificate.spiffe_id


def _read_document(data: bytes) -> None:
    assert data == canonical(fields_of(data))


def _read_header(data: bytes) -> None:
    header = header_from_proto(projector_pb2.ContributionHeader.FromString(data))
    assert header == header_from_proto(header_to_proto(header)) or _has_nan(header.metrics.values())
    judge_header(header, federation=federation_of(), spec=SPEC, round_number=1, base_digest=BASE_DIGEST)
    judge_signature(header, silo="a", signing_key=_KEY)
    raise AssertionError("a header that nobody signed was admitted")


def _read_round(data: bytes) -> None:
    answer = round_from_proto(aggregator_pb2.GetRoundResponse.FromString(data), federation="f")
    if answer.receipt is not None:
        _require_receipt(answer.receipt.round, data=receipt_to_proto(answer.receipt))


def _read_receipt(data: bytes) -> None:
    _require_receipt(1, data=projector_pb2.Receipt.FromString(data))


def _require_receipt(round_number: int, *, data: projector_pb2.Receipt) -> None:
    receipt = receipt_from_proto(data)
    pushed = replace(
        _header(), federation=receipt.federation, round=receipt.round, payload_digest=receipt.payload_digest
    )
    pushed = replace(pushed, payload_size_bytes=receipt.payload_size_bytes, num_examples=receipt.num_examples)
    require_receipt(receipt, pushed, silo="", keys=(_KEY,))
    raise AssertionError("a receipt that nobody signed was believed")


def _read_manifest(data: bytes) -> None:
    manifest = manifest_from_proto(projector_pb2.ProjectorManifest.FromString(data))
    assert manifest == manifest_from_proto(manifest_to_proto(manifest)) or _has_nan(
        (*manifest.metrics.values(), manifest.tolerance)
    )
    require_signed_manifest(manifest, federation="f", keys=(_KEY,))
    raise AssertionError("a manifest that nobody signed was believed")


def _has_nan(numbers: object) -> bool:
    return any(number != number for number in numbers)  # type: ignore[attr-defined]


def _read_address(data: bytes) -> None:
    address = parse_address(_text(data))
    assert (
        address.endpoints == parse_address(address.with_port(address.endpoints[0].port)).endpoints
        or len({endpoint.port for endpoint in address.endpoints}) > 1
    )


def _read_spiffe(data: bytes) -> None:
    assert _text(data) == str(parse_spiffe(_text(data)))


def _header():
    return header_of(delta_of(([[1.0] * 3] * 2, [1.0] * 3)))


@cache
def _certificate() -> Certificate:
    return pki.silo("a").certificate


def _invitations() -> list[bytes]:
    invitation = Invitation("a:1", "a:2", "f", "a", NOW + timedelta(days=1), b"s" * 32, (b"\x30\x00",))
    return [invitation_text(invitation).encode()]


def _round() -> bytes:
    return aggregator_pb2.GetRoundResponse(
        state=1, round=1, encoding=1, spec=spec_to_proto(SPEC), receipt=_receipt(), deadline=_INSTANT
    ).SerializeToString()


def _receipt() -> projector_pb2.Receipt:
    return projector_pb2.Receipt(round=1, silo="a", admitted_at=_INSTANT)


def _certificates() -> list[bytes]:
    """One that is right, and one with an extension twice."""
    der = _certificate().der
    return [der, der.replace(b"\x06\x03\x55\x1d\x11", b"\x06\x03\x55\x1d\x25")]


def _messages(*messages: Message) -> list[bytes]:
    return [message.SerializeToString() for message in messages]


def _toml() -> list[bytes]:
    return [b'name = "f"\nrounds = 3\nparticipation.silos = {min = 1, max = 2}\nplan.learning_rate.initial = 0.1\n']


_CONFIG, _IDENTITY = errors.ConfigInvalid, errors.IdentityInvalid
READERS = (
    Reader(_read_invitation, (_CONFIG,), _invitations),
    Reader(_read_certificate, (_CONFIG, _IDENTITY, errors.RequestInvalid), _certificates),
    Reader(
        lambda data: read_certificates(_text(data), where="here"),
        (_CONFIG,),
        lambda: [_certificate().pem.encode()],
    ),
    Reader(requested_key, (errors.RequestInvalid,), lambda: [new_tls_key().signing_request()]),
    Reader(_read_document, (errors.InvariantBroken,), lambda: [canonical({"a": 1, "b": [None, "c", 1.5]})]),
    Reader(
        _read_header,
        (errors.RefusedDelta, errors.RoundMoved),
        lambda: _messages(header_to_proto(replace(_header(), metrics={"loss": 1.0}, nonce=b"n" * 16))),
    ),
    Reader(lambda data: parse_federation(_text(data)), (errors.FederationInvalid,), _toml),
    Reader(
        _read_address, (_CONFIG,), lambda: [b"a.example:1,tls://b:2", b"dns://[::1]:53/a:1", b"plaintext://[::1]:80"]
    ),
    Reader(_read_spiffe, (_IDENTITY,), lambda: [str(_certificate().spiffe_id).encode()]),
    Reader(_read_round, (errors.IsthmusError,), lambda: [_round()]),
    Reader(_read_receipt, (errors.AggregatorUntrusted,), lambda: _messages(_receipt())),
    Reader(
        _read_manifest,
        (errors.AggregatorUntrusted,),
        lambda: _messages(projector_pb2.ProjectorManifest(number=1, cut_at=_INSTANT)),
    ),
)
