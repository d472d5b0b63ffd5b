"""Reads what a payload's header says of each tensor, well-formed or refused; compares it with no spec.

Nothing is allocated from a number that stands in the header. Knows safetensors' header; sees no value.
"""

import re
from dataclasses import dataclass

from isthmus.errors import PayloadMalformed
from isthmus.foreign import quoted, shown
from isthmus.payload import MAX_HEADER_BYTES, PREFIX_BYTES
from isthmus.spec import MAX_TENSORS, RESERVED_TENSOR_NAME, TENSOR_NAME_PATTERN
from isthmus.strict_json import decode_object, malformed

MAX_DIMENSIONS = 8
"""As many as a projector spec may have."""

_MAX_LABEL = 160
"""Longest name of a stranger's choosing that stands in a message as it is."""

_FIELDS = {"dtype", "shape", "data_offsets"}
_PATH = re.compile(r"/|(.*/)?\.\.(/|$)")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the header says of one tensor; offsets in bytes from the first value."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def label(text: str) -> str:
    """A stranger's name or dtype for a sentence of ours: as it is where it is harmless and short, else cut."""
    return quoted(text) if len(text) <= _MAX_LABEL and TENSOR_NAME_PATTERN.fullmatch(text) else shown(text)


def header_size(prefix: bytes | bytearray, *, payload_size_bytes: int) -> int:
    """Bytes before the first value (the 8 of the length included), from the payload's first 8 bytes.

    Raises:
        PayloadMalformed: The length is too small, over MAX_HEADER_BYTES, or beyond the payload (`check`: ST_SHORT,
            ST_HEADER_LEN).
    """
    if min(len(prefix), payload_size_bytes) < PREFIX_BYTES:
        raise malformed(
            "ST_SHORT",
            f"The payload ends after {payload_size_bytes} bytes, before its header begins.",
            measured=payload_size_bytes,
            limit=PREFIX_BYTES,
        )
    length = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    limit = min(MAX_HEADER_BYTES, payload_size_bytes - PREFIX_BYTES)
    if not 2 <= length <= limit:
        raise malformed(
            "ST_HEADER_LEN",
            f"The payload's first 8 bytes announce a header of {length} bytes; here it may have 2 to {limit}. "
            "Is this a safetensors file at all?",
            measured=length,
            limit=limit,
        )
    return PREFIX_BYTES + length


def read_entries(data: bytes | bytearray, known: set[str], payload_size_bytes: int) -> tuple[bytes, dict[str, Entry]]:
    """The header's bytes and what they say of each tensor.

    Args:
        data: The payload's first bytes, the whole header at least.
        known: Names that are right without a look at them.
        payload_size_bytes: Size of the whole payload.

    Raises:
        PayloadMalformed: `check` is the ST_* name of what is wrong.
    """
    size = header_size(data[:PREFIX_BYTES], payload_size_bytes=payload_size_bytes)
    header = bytes(data[:size])
    if len(header) < size:
        raise malformed("ST_SHORT", "The payload ends within its header.", measured=len(header), limit=size)
    decoded = decode_object(header[PREFIX_BYTES:])
    if RESERVED_TENSOR_NAME in decoded:
        raise malformed(
            "ST_META",
            "The payload has __metadata__, which makes the bytes of equal tensors differ.",
            measured="present",
            limit="absent",
        )
    if not 1 <= len(decoded) <= MAX_TENSORS:
        raise malformed(
            "ST_SCHEMA",
            f"The payload has {len(decoded)} tensors; it may have 1 to {MAX_TENSORS}.",
            measured=len(decoded),
            limit=MAX_TENSORS,
        )
    for name in decoded.keys() - known:
        _require_name(name)
    return header, {name: _entry(name, value) for name, value in decoded.items()}


def _require_name(name: str) -> None:
    if _SURROGATE.search(name):
        raise malformed(
            "ST_HEADER_JSON",
            f"The tensor name {label(name)} holds half a character, which is no Unicode.",
            measured=label(name),
            limit="Unicode",
        )
    if not TENSOR_NAME_PATTERN.fullmatch(name) or _PATH.match(name):
        raise malformed(
            "ST_NAME",
            f"The tensor name {label(name)} is not 1 to 256 printable ASCII characters, or it is a path.",
            measured=label(name),
            limit=TENSOR_NAME_PATTERN.pattern,
            tensor=label(name),
        )


def _entry(name: str, value: object) -> Entry:
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        fields = sorted(value) if isinstance(value, dict) else value
        raise malformed(
            "ST_FIELD",
            f"The header's entry of tensor {label(name)} must be exactly dtype, shape and data_offsets.",
            measured=shown(fields),
            limit=sorted(_FIELDS),
            tensor=label(name),
        )
    if not isinstance(value["dtype"], str):
        raise _not_integers("dtype", name, value["dtype"], limit="text")
    shape = _integers("shape", name, value["shape"])
    offsets = _integers("data_offsets", name, value["data_offsets"])
    if len(offsets) != 2:
        raise _not_integers("data_offsets", name, offsets, limit="two integers")
    _require_size(name, shape)
    return Entry(name, value["dtype"], shape, offsets[0], offsets[1])


def _integers(field: str, name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(number) is not int for number in value):  # bool is an int to isinstance
        raise _not_integers(field, name, value, limit="integers from 0 to 2^63 - 1")
    return tuple(value)


def _not_integers(field: str, name: str, value: object, *, limit: str) -> PayloadMalformed:
    return malformed(
        "ST_INT",
        f"The {field} of tensor {label(name)} is {shown(value)}; it must be {limit}.",
        measured=shown(value),
        limit=limit,
        tensor=label(name),
    )


def _require_size(name: str, shape: tuple[int, ...]) -> None:
    num_elements = 1
    for dimension in shape[:MAX_DIMENSIONS]:
        num_elements *= dimension
    if len(shape) > MAX_DIMENSIONS or not 0 < num_elements < 2**60:
        raise malformed(
            "ST_SHAPE",
            f"Tensor {label(name)} has {len(shape)} dimensions {shown(list(shape))}; it may have up to "
            f"{MAX_DIMENSIONS}, each at least 1, and fewer than 2^60 values.",
            measured=shown(list(shape)),
            limit=MAX_DIMENSIONS,
            tensor=label(name),
        )
