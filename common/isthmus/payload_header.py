"""Judges a payload's header, strictly: what the safetensors library would load leniently is refused here.

Everything accepted loads in that library to the same tensors; everything it rejects is rejected here. Nothing is
allocated from a number that stands in the header. Knows names, dtypes, shapes and offsets; sees no value.
"""

from isthmus.contribution import Encoding
from isthmus.errors import PayloadMalformed, SpecMismatch
from isthmus.foreign import shown
from isthmus.payload import DTYPES, PayloadLayout, Stored, spans, stored
from isthmus.payload_entries import Entry, label, read_entries
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.strict_json import malformed


def parse_header(
    data: bytes | bytearray, spec: ProjectorSpec, encoding: Encoding, *, payload_size_bytes: int
) -> PayloadLayout:
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
    expected = stored(spec, encoding)
    header, entries = read_entries(data, {tensor.name for tensor in expected}, payload_size_bytes)
    _require_names(entries, expected)
    for tensor in expected:
        _require_dtype(entries[tensor.name], tensor.dtype)
        _require_shape(entries[tensor.name], tensor)
    placed = PayloadLayout(header, spans(spec, encoding))
    _require_places(entries, expected, placed, payload_size_bytes=payload_size_bytes)
    return placed


def read_spec(data: bytes | bytearray, *, payload_size_bytes: int) -> ProjectorSpec:
    """The spec of a float32 payload that is not known beforehand (the initial projector), as strictly.

    Args:
        data: See `parse_header`.
        payload_size_bytes: Size of the whole payload.

    Raises:
        PayloadMalformed: See `parse_header`.
        SpecMismatch: Its tensors make no valid spec.
    """
    header, entries = read_entries(data, set(), payload_size_bytes)
    for entry in entries.values():
        _require_dtype(entry, DTYPES[Encoding.FP32])
    spec = ProjectorSpec(tuple(TensorSpec(name, "F32", entries[name].shape) for name in sorted(entries)))
    placed = PayloadLayout(header, spans(spec, Encoding.FP32))
    _require_places(entries, stored(spec, Encoding.FP32), placed, payload_size_bytes=payload_size_bytes)
    return spec


def _require_names(entries: dict[str, Entry], expected: tuple[Stored, ...]) -> None:
    for tensor in expected:
        if tensor.name not in entries:
            raise SpecMismatch(
                f"Tensor {tensor.name} is missing from the payload. Push every tensor of the projector that was "
                "pulled, under its name, as SiloClient.push does.",
                tensor=tensor.name,
                check="SCHEMA_MISSING",
                measured="missing",
                limit="present",
            )
    for name in sorted(entries.keys() - {tensor.name for tensor in expected}):
        raise SpecMismatch(
            f"The payload has a tensor {label(name)} that the federation's spec does not have. Push the tensors of "
            "the projector that was pulled, and no others.",
            tensor=label(name),
            check="SCHEMA_EXTRA",
            measured="present",
            limit="absent",
        )


def _require_dtype(entry: Entry, dtype: str) -> None:
    if entry.dtype != dtype:
        raise SpecMismatch(
            f"Tensor {entry.name} is {label(entry.dtype)} in the payload and must be {dtype}. Convert it before "
            "writing the payload; SiloClient.push does.",
            tensor=entry.name,
            check="SCHEMA_DTYPE",
            measured=label(entry.dtype),
            limit=dtype,
        )


def _require_shape(entry: Entry, tensor: Stored) -> None:
    if entry.shape != tensor.shape:
        raise SpecMismatch(
            f"Tensor {entry.name} has shape {list(entry.shape)} in the payload; the federation's spec says "
            f"{list(tensor.shape)}. Train the projector that was pulled, without reshaping or transposing it.",
            tensor=entry.name,
            check="SCHEMA_SHAPE",
            measured=list(entry.shape),
            limit=list(tensor.shape),
        )


def _require_places(
    entries: dict[str, Entry], expected: tuple[Stored, ...], layout: PayloadLayout, *, payload_size_bytes: int
) -> None:
    """Checks that every tensor lies where the spec's order puts it and nothing follows the last."""
    if any(_lies(entries[tensor.name]) != (tensor.start, tensor.end) for tensor in expected):
        raise _misplaced(entries, expected)
    if layout.size_bytes != payload_size_bytes:
        raise malformed(
            "ST_LENGTH",
            f"The payload has {payload_size_bytes} bytes; by its header it must have {layout.size_bytes}.",
            measured=payload_size_bytes,
            limit=layout.size_bytes,
        )


def _lies(entry: Entry) -> tuple[int, int]:
    return entry.start, entry.end


def _misplaced(entries: dict[str, Entry], expected: tuple[Stored, ...]) -> PayloadMalformed:
    """Why the tensors lie wrong: badly sized, with holes or overlaps, or else merely in another order."""
    sizes = {tensor.name: tensor.end - tensor.start for tensor in expected}
    position = 0
    for entry in sorted(entries.values(), key=_lies):
        end = position + sizes[entry.name]
        if _lies(entry) != (position, end):
            return malformed(
                "ST_OFFSET",
                f"Tensor {entry.name} lies at bytes {entry.start} to {entry.end} of the values; by the tensors before "
                f"it and its shape it must lie at {position} to {end}.",
                tensor=entry.name,
                measured=[entry.start, entry.end],
                limit=[position, end],
            )
        position = end
    found = [entry.name for entry in sorted(entries.values(), key=_lies)]
    first = next(tensor.name for tensor, name in zip(expected, found, strict=True) if tensor.name != name)
    return malformed(
        "ST_ORDER",
        f"The tensors' values must follow each other by name (scales first); {first} does not lie where it belongs.",
        tensor=first,
        measured=shown(found),
        limit="sorted by name, scales first",
    )
