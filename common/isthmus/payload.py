"""The bytes of a payload: canonical safetensors of a projector spec in an encoding, without `__metadata__`.

A payload is 8 bytes (the header's length, little endian), the header (JSON, padded with spaces to a multiple of 8) and
the tensors' values, in the spec's order, without holes. Where the encoding has scales, each tensor's are a tensor of
their own, and all of them lie before the values. Knows where every tensor lies and how a header is written;
`isthmus.payload_header` judges the headers that others wrote.
"""

import json
from dataclasses import dataclass

from isthmus.codec import SCALE_BYTES, num_scales
from isthmus.contribution import Encoding
from isthmus.errors import SpecMismatch
from isthmus.spec import MAX_TENSORS, ProjectorSpec, TensorSpec
from isthmus.top_k import ENTRY_BYTES, num_kept

PREFIX_BYTES = 8
"""The header's length stands in this many bytes before it."""

MAX_HEADER_BYTES = 256 * 1024
"""Longest header written or accepted; bounds what judging one costs. The safetensors library takes 100 MB."""

DTYPES: dict[Encoding, str] = {
    Encoding.FP32: "F32",
    Encoding.BF16: "BF16",
    Encoding.FP16: "F16",
    Encoding.INT8: "I8",
    Encoding.TOP_K: "U16",
    Encoding.RING32: "U32",
}
"""The safetensors dtype of every tensor's values, by encoding."""

ITEM_BYTES: dict[Encoding, int] = {
    Encoding.FP32: 4,
    Encoding.BF16: 2,
    Encoding.FP16: 2,
    Encoding.INT8: 1,
    Encoding.TOP_K: ENTRY_BYTES,
    Encoding.RING32: 4,
}
"""Bytes of one value that travels, by encoding; scales come on top. In top_k one of 16 does: see `values_bytes`."""

SCALED = frozenset({Encoding.INT8})
"""Encodings whose tensors have scales."""

SCALE_DTYPE = "BF16"
"""The safetensors dtype of scales; a dtype that the library writes before I8."""

SCALE_PREFIX = "scale:"
"""Before a tensor's name, the name of its scales. A prefix: so scales have the order of their tensors."""

ZERO_NAME, ZERO_DTYPE, ZERO_SHAPE, ZERO_BYTES = "zero:words", "U64", (4,), 32
"""The tensor before masked values: eight words that open to zero. A dtype that the library writes first."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor as a payload's header names it: values of the spec's, or their scales; bytes from `data_start`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


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
        tensors: In the spec's order; each starts where the one before ends, the first at 0 or behind the scales.
    """

    header: bytes
    tensors: tuple[TensorSpan, ...]

    @property
    def data_start(self) -> int:
        """Offset of the first value, or scale, in the payload, in bytes."""
        return len(self.header)

    @property
    def data_bytes(self) -> int:
        """Size of all values and scales."""
        return self.tensors[-1].end

    @property
    def size_bytes(self) -> int:
        """Size of the whole payload."""
        return self.data_start + self.data_bytes


def values_bytes(num_values: int, encoding: Encoding) -> int:
    """Bytes of so many values of one tensor, from its start or, of top_k, from a block's; scales come on top."""
    return ITEM_BYTES[encoding] * (num_kept(num_values) if encoding is Encoding.TOP_K else num_values)


def spans(spec: ProjectorSpec, encoding: Encoding) -> tuple[TensorSpan, ...]:
    """Where each tensor's values of `spec` lie, from the first scale or, without scales, from the first value."""
    placed: list[TensorSpan] = []
    start = ZERO_BYTES if encoding is Encoding.RING32 else scales_bytes(spec, encoding)
    for tensor in spec.tensors:
        end = start + values_bytes(tensor.num_elements, encoding)
        placed.append(TensorSpan(tensor, start, end))
        start = end
    return tuple(placed)


def scales_bytes(spec: ProjectorSpec, encoding: Encoding) -> int:
    """Bytes of all scales, which lie before the first value; 0 where the encoding has none."""
    return sum(SCALE_BYTES * num_scales(tensor.num_elements) for tensor in spec.tensors) if encoding in SCALED else 0


def stored(spec: ProjectorSpec, encoding: Encoding) -> tuple[Stored, ...]:
    """Every tensor of a payload, in the order of its bytes."""
    values = [
        Stored(span.tensor.name, DTYPES[encoding], _shape(span.tensor, encoding), span.start, span.end)
        for span in spans(spec, encoding)
    ]
    if encoding is Encoding.RING32:
        return (Stored(ZERO_NAME, ZERO_DTYPE, ZERO_SHAPE, 0, ZERO_BYTES), *values)
    return (*(_scales(spec) if encoding in SCALED else ()), *values)


def _shape(tensor: TensorSpec, encoding: Encoding) -> tuple[int, ...]:
    """The shape of a tensor's values in a payload: of top_k index and bits of each that is kept, else its own."""
    return (num_kept(tensor.num_elements), 2) if encoding is Encoding.TOP_K else tensor.shape


def _scales(spec: ProjectorSpec) -> list[Stored]:
    placed: list[Stored] = []
    start = 0
    for tensor in spec.tensors:
        count = num_scales(tensor.num_elements)
        placed.append(Stored(SCALE_PREFIX + tensor.name, SCALE_DTYPE, (count,), start, start + SCALE_BYTES * count))
        start = placed[-1].end
    return placed


def layout(spec: ProjectorSpec, encoding: Encoding) -> PayloadLayout:
    """The layout of the payload that the safetensors library writes for this spec.

    Raises:
        SpecMismatch: The names are so long that the header would be over `MAX_HEADER_BYTES`; or there are scales, and
            with them more than MAX_TENSORS tensors, or two of one name.
    """
    if encoding in SCALED:
        _require_room_for_scales(spec)
    if encoding is Encoding.RING32:
        _require_room_for_zeros(spec)
    entries = {
        tensor.name: {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [tensor.start, tensor.end]}
        for tensor in stored(spec, encoding)
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
    return PayloadLayout(header=len(text).to_bytes(PREFIX_BYTES, "little") + text, tensors=spans(spec, encoding))


def _require_room_for_scales(spec: ProjectorSpec) -> None:
    """Checks what a spec cannot spoil by itself, and the tensors of its scales can."""
    twice = sorted(spec.names & {SCALE_PREFIX + name for name in spec.names})
    if twice:
        raise SpecMismatch(
            f"The scales of a tensor would be named {twice[0]}, and the spec has a tensor of that name. Rename the "
            "tensor, or choose an encoding without scales.",
            tensor=twice[0],
            check="name",
            measured=twice[0],
            limit=f"not {SCALE_PREFIX} and the name of another tensor",
        )
    if 2 * len(spec.tensors) > MAX_TENSORS:
        raise SpecMismatch(
            f"A payload of this spec would have {2 * len(spec.tensors)} tensors, scales included; the limit is "
            f"{MAX_TENSORS}. Choose an encoding without scales.",
            check="num_tensors",
            measured=2 * len(spec.tensors),
            limit=MAX_TENSORS,
        )


def _require_room_for_zeros(spec: ProjectorSpec) -> None:
    if ZERO_NAME in spec.names or len(spec.tensors) == MAX_TENSORS:
        raise SpecMismatch(
            f"A masked payload has a tensor {ZERO_NAME} beside the spec's. Rename the spec's own tensor of that name, "
            f"and have fewer than {MAX_TENSORS}.",
            check="zero_words",
            measured=len(spec.tensors),
            limit=MAX_TENSORS - 1,
        )


def header_bytes(spec: ProjectorSpec, encoding: Encoding) -> bytes:
    """Everything of a payload before its values, byte for byte as the safetensors library writes it.

    Raises:
        SpecMismatch: See `layout`.
    """
    return layout(spec, encoding).header
