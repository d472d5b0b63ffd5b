"""Judges a payload's header, strictly: what the safetensors library would load leniently is refused here.

Signatures first; the bodies follow within the hour.
"""

from isthmus.contribution import Encoding
from isthmus.payload import PayloadLayout
from isthmus.spec import ProjectorSpec


def header_size(prefix: bytes, *, payload_size_bytes: int) -> int:
    """Bytes before the first value (the 8 of the length included), from the payload's first 8 bytes.

    Raises:
        PayloadMalformed: The length is too small, over MAX_HEADER_BYTES, or beyond the payload.
    """
    raise NotImplementedError


def parse_header(data: bytes, spec: ProjectorSpec, encoding: Encoding, *, payload_size_bytes: int) -> PayloadLayout:
    """The layout of a payload that must be this spec's in this encoding.

    Args:
        data: The payload's first bytes, at least `header_size(data[:8])` of them; more is not looked at.
        spec: What the payload must hold, no more and no less.
        encoding: How its values must be encoded.
        payload_size_bytes: Size of the whole payload.

    Raises:
        PayloadMalformed: It is no canonical safetensors; `check` is the ST_* name of what is wrong.
        SpecMismatch: It is, but of other tensors; `check` is the SCHEMA_* name.
    """
    raise NotImplementedError


def read_spec(data: bytes, *, payload_size_bytes: int) -> ProjectorSpec:
    """The spec of a float32 payload that is not known beforehand (the initial projector), as strictly.

    Raises:
        PayloadMalformed: See `parse_header`.
        SpecMismatch: Its tensors make no valid spec.
    """
    raise NotImplementedError
