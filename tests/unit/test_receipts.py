"""A receipt's file: it is read as it was written, without a signature too, and anything else is told."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from isthmus.contribution import Receipt
from isthmus.errors import ConfigInvalid
from isthmus.receipts import receipt_from_json, receipt_to_json

RECEIPT = Receipt("f", 1, "s", b"\1" * 32, 100, 2, 0.5, datetime(2026, 1, 2, tzinfo=UTC), 1, b"\2" * 64)


def changed(**fields: object) -> bytes:
    """The file with other values, or without those that are None."""
    document = json.loads(receipt_to_json(RECEIPT)) | fields
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def test_file_is_read_as_it_was_written() -> None:
    """Every field comes back, and a whole number in the norm's place is the double that was signed."""
    assert receipt_from_json(receipt_to_json(RECEIPT)) == RECEIPT
    assert repr(receipt_from_json(changed(l2_norm=2)).l2_norm) == "2.0"


def test_file_without_a_signature_is_read() -> None:
    """It is a receipt that nobody signed, which is for verify to say."""
    assert receipt_from_json(changed(signature=None)) == replace(RECEIPT, signature=b"")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"{}",
        changed(silo=None),
        changed(silo=7),
        changed(round="1"),
        changed(round=True),
        changed(l2_norm=10**400),
        changed(l2_norm="much"),
        changed(admitted_at="2026-01-02T00:00:00"),
        changed(payload_digest="zz"),
        changed(other=1),
    ],
)
def test_what_is_no_receipt_is_told(content: bytes) -> None:
    """A file with a field too few, too many or of another kind is no receipt, in words."""
    with pytest.raises(ConfigInvalid, match="This is no receipt"):
        receipt_from_json(content)
