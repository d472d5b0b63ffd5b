"""The bytes of a payload: canonical safetensors of a projector spec in an encoding, without `__metadata__`.

A payload is 8 bytes (the header's length, little endian), the header (JSON, padded with spaces to a multiple of 8) and
the tensors' values, in the spec's order, without holes. Knows where every tensor lies and how a header is written;
`isthmus.payload_header` judges the headers that others wrote.
"""

import json
from dataclasses import dataclass

from isthmus.contribution import Encoding
from isthmus.errors import SpecMismatch
from isthmus.spec import ProjectorSpec, TensorSpec

PREFIX_BYTES = 8
"""The header's length stands in this many bytes before it."""

MAX_HEADER_BYTES = 256 * 1024
"""Longest header written or accepted; bounds what judging one costs. The safetensors library takes 100 MB."""

DTYPES: dict[Encoding, str] = {Encoding.FP32: "F32", Encoding.BF16: "BF16", Encoding.FP16: "F16"}
"""The safetensors dtype of every tensor of a payload, by encoding."""

ITEM_BYTES: dict[Encoding, int] = {Encoding.FP32: 4, Encoding.BF16: 2, Encoding.FP16: 2}
"""Bytes of one value, by encoding."""


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """Where one tensor's values lie: bytes [start, end) counted from `PayloadLayout.data_start`.

    `tensor` is the spec's: its dtype is the published one, whatever the encoding.
    """

    tensor: TensorSpec
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PayloadLayout:
    """Where everything lies in one payload.

    Attributes:
        header: All bytes before the values: length and padded JSON.
        tensors: In the spec's order; each starts where the one before ends, the first at 0.
    """

    header: bytes
    tensors: tuple[TensorSpan, ...]

    @property
    def data_start(self) -> int:
        """Offset of the first value in the payload, in bytes."""
        return len(self.header)

    @property
    def data_bytes(self) -> int:
        """Size of all values."""
        return self.tensors[-1].end

    @property
    def size_bytes(self) -> int:
        """Size of the whole payload."""
        return self.data_start + self.data_bytes


def spans(spec: ProjectorSpec, encoding: Encoding) -> tuple[TensorSpan, ...]:
    """Where each tensor of `spec` lies among the values."""
    placed: list[TensorSpan] = []
    start = 0
    for tensor in spec.tensors:
        end = start + tensor.num_elements * ITEM_BYTES[encoding]
        placed.append(TensorSpan(tensor, start, end))
        start = end
    return tuple(placed)


def layout(spec: ProjectorSpec, encoding: Encoding) -> PayloadLayout:
    """The layout of the payload that the safetensors library writes for this spec.

    Raises:
        SpecMismatch: The names are so long that the header would be over `MAX_HEADER_BYTES`.
    """
    placed = spans(spec, encoding)
    entries = {
        span.tensor.name: {
            "dtype": DTYPES[encoding],
            "shape": list(span.tensor.shape),
            "data_offsets": [span.start, span.end],
        }
        for span in placed
    }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % PREFIX_BYTES)
    if len(text) > MAX_HEADER_BYTES:
        raise SpecMismatch(
            f"The header of this spec's payload would have {len(text)} bytes, the limit is {MAX_HEADER_BYTES}; "
            "give the tensors shorter names.",
            check="ST_HEADER_LEN",
            measured=len(text),
            limit=MAX_HEADER_BYTES,
        )
    return PayloadLayout(header=len(text).to_bytes(PREFIX_BYTES, "little") + text, tensors=placed)


def header_bytes(spec: ProjectorSpec, encoding: Encoding) -> bytes:
    """Everything of a payload before its values, byte for byte as the safetensors library writes it.

    Raises:
        SpecMismatch: See `layout`.
    """
    return layout(spec, encoding).header
