"""The bytes of the store's documents: one for each value, and any other is refused."""

import pytest

from aggregator.ledger.canonical import canonical, fields_of
from isthmus.errors import InvariantBroken

FIELDS = {"b": [1, 2.5], "a": {"text": "x", "none": None}}


def test_document_gives_its_fields_back() -> None:
    """What was written is read, and written again it has the same bytes."""
    document = canonical(FIELDS)

    assert fields_of(document) == FIELDS
    assert canonical(fields_of(document)) == document


def test_equal_fields_have_equal_bytes() -> None:
    """The order in which fields were named changes nothing."""
    assert canonical(FIELDS) == canonical(dict(reversed(FIELDS.items())))


@pytest.mark.parametrize("place", range(len(canonical(FIELDS))))
def test_flipped_byte_is_noticed(place: int) -> None:
    """Whichever byte of a document changed, it is not read."""
    damaged = bytearray(canonical(FIELDS))
    damaged[place] ^= 1

    with pytest.raises(InvariantBroken, match="isthmus verify"):
        fields_of(bytes(damaged))


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b"null", b"1", b'"seal"', b'{"a":1}', canonical(FIELDS)[:-1]])
def test_what_was_never_written_is_refused(document: bytes) -> None:
    """Bytes that are no document of ours raise the same error, whatever they are."""
    with pytest.raises(InvariantBroken):
        fields_of(document)
