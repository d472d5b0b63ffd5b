"""How payloads are cut."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.chunks import MAX_CHUNK_BYTES, read_chunks, require_next, spans, split
from isthmus.errors import OffsetMismatch, PayloadMalformed, PayloadTooLarge


@given(data=st.binary(max_size=300), start=st.integers(0, 320), step=st.integers(1, 97))
def test_split_gives_back_every_byte(data, start, step):
    """The chunks, joined, are the bytes from the start on, each at its own offset."""
    chunks = list(split(data, start=start, step=step))

    assert data[start:] == b"".join(chunk for _, chunk in chunks)
    assert all(data[offset : offset + len(chunk)] == chunk and 1 <= len(chunk) <= step for offset, chunk in chunks)


def test_spans_of_nothing_are_none():
    """An upload that is whole has no chunk left to send."""
    assert [] == list(spans(10, 10))
    assert [] == list(spans(11, 10))


def test_file_is_read_from_where_an_upload_broke():
    """Resuming reads what is missing and nothing else."""
    assert [(4, b"456789")] == list(read_chunks(io.BytesIO(b"0123456789"), start=4, size_bytes=10))


def test_file_that_was_cut_off_is_refused():
    """A file shorter than announced is found before it is sent as whole."""
    with pytest.raises(PayloadMalformed):
        list(read_chunks(io.BytesIO(b"01234"), start=0, size_bytes=10))


def test_next_chunk_passes():
    """A chunk that goes on where the last one ended, up to the very end, is accepted."""
    require_next(4, 6, committed_bytes=4, size_bytes=10)


@pytest.mark.parametrize("offset", [0, 3, 5, 2**63])
def test_gap_or_repeat_names_where_to_resume(offset):
    """Any other offset is refused with the committed bytes."""
    with pytest.raises(OffsetMismatch) as caught:
        require_next(offset, 1, committed_bytes=4, size_bytes=10)

    assert "4" == caught.value.details["committedBytes"]


def test_chunk_beyond_the_announced_size_is_refused():
    """A sender cannot send more than it announced."""
    with pytest.raises(PayloadTooLarge):
        require_next(4, 7, committed_bytes=4, size_bytes=10)


@pytest.mark.parametrize("num_bytes", [0, MAX_CHUNK_BYTES + 1])
def test_chunk_of_a_wrong_size_is_refused(num_bytes):
    """Empty chunks cost a message each for nothing, large ones memory."""
    with pytest.raises(PayloadMalformed):
        require_next(0, num_bytes, committed_bytes=0, size_bytes=2**40)
