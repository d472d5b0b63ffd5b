"""What a TLS certificate says of itself: from when, until when, for which names. Pure, and as much X.509 as that needs.

gRPC reports every failed handshake as a broken connection, and Python's ssl parses only certificates that it trusts. So
that a person can be told what is wrong with one, its few fields that matter are read here.

Source: RFC 5280, section 4.1 (the fields and their order) and 4.2.1.6 (subject alternative names).
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from isthmus.errors import ConfigInvalid

_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
"""The object identifier 2.5.29.17 as it stands in a certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one certificate says; `names` are its DNS names and IP addresses."""

    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


def read_certificate(der: bytes) -> Certificate:
    """The certificate in these DER bytes.

    Raises:
        ConfigInvalid: They are no X.509 certificate.
    """
    try:
        (_, certificate), *_ = _items(der)
        (_, content), *_ = _items(certificate)
        fields = [(tag, value) for tag, value in _items(content) if tag != _VERSION]
        validity = [_time(tag, value) for tag, value in _items(fields[3][1])]
        extensions = next((value for tag, value in fields if tag == _EXTENSIONS), b"")
        return Certificate(validity[0], validity[1], tuple(_names(extensions)))
    except (IndexError, ValueError) as error:
        raise ConfigInvalid("The aggregator presents something that is no X.509 certificate.") from error


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each item, in order."""
    at = 0
    while at < len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size & 0x80:
            num_bytes = size & 0x7F
            size, at = int.from_bytes(content[at : at + num_bytes], "big"), at + num_bytes
        if at + size > len(content):
            raise ValueError("an item is longer than what holds it")
        yield tag, content[at : at + size]
        at += size


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:  # two digits of the year; RFC 5280: 50 to 99 are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _names(extensions: bytes) -> Iterator[str]:
    for _, listed in _items(extensions):
        for _, extension in _items(listed):
            if not extension.startswith(_SUBJECT_ALT_NAME):
                continue
            *_, (_, content) = _items(extension)
            for tag, value in (item for _, names in _items(content) for item in _items(names)):
                if tag == _DNS_NAME:
                    yield value.decode("ascii")
                elif tag == _IP_ADDRESS:
                    yield str(ipaddress.ip_address(value))
