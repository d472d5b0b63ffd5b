"""The layout of a payload is the safetensors library's own."""

import pytest
import safetensors.torch
import torch

from isthmus.contribution import Encoding
from isthmus.errors import SpecMismatch
from isthmus.payload import MAX_HEADER_BYTES, header_bytes, layout
from isthmus.payload_entries import header_size
from isthmus.payload_header import parse_header, read_spec
from isthmus.spec import MAX_TENSORS, ProjectorSpec, TensorSpec, spec_of
from tests.quantized import library_tensors

SHAPES: list[dict[str, tuple[int, ...]]] = [
    {"a": ()},
    {"linear_1.weight": (4, 3), "linear_1.bias": (4,), "linear_2.weight": (4, 4), "linear_2.bias": (4,)},
    {'quote"': (2,), "back\\slash": (3,), "~": (1, 1), "!": (5,), "a/b": (1,), "\\u0061": (1,)},
    {f"layers.{i}.weight": (1, i + 1) for i in range(60)},
]


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("shapes", SHAPES, ids=["scalar", "projector", "odd names", "many"])
def test_header_is_the_librarys_byte_for_byte(shapes: dict[str, tuple[int, ...]], encoding: Encoding) -> None:
    """What the safetensors library writes begins with our header and is as long as our layout says."""
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    written = safetensors.torch.save(library_tensors(tensors, encoding))
    placed = layout(spec_of(tensors), encoding)

    assert written[: placed.data_start] == header_bytes(spec_of(tensors), encoding)
    assert len(written) == placed.size_bytes


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("shapes", SHAPES, ids=["scalar", "projector", "odd names", "many"])
def test_parser_reads_what_the_library_writes(shapes: dict[str, tuple[int, ...]], encoding: Encoding) -> None:
    """The parser gives our own layout back, from the whole payload or from its header alone."""
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    spec = spec_of(tensors)
    written = safetensors.torch.save(library_tensors(tensors, encoding))
    head = written[: header_size(written[:8], payload_size_bytes=len(written))]

    assert parse_header(written, spec, encoding, payload_size_bytes=len(written)) == layout(spec, encoding)
    assert parse_header(head, spec, encoding, payload_size_bytes=len(written)) == layout(spec, encoding)


@pytest.mark.parametrize("shapes", SHAPES, ids=["scalar", "projector", "odd names", "many"])
def test_spec_of_a_file_is_read(shapes: dict[str, tuple[int, ...]]) -> None:
    """A float32 file's spec is that of its tensors."""
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    written = safetensors.torch.save(tensors)

    assert read_spec(written, payload_size_bytes=len(written)) == spec_of(tensors)


def test_file_of_another_dtype_has_no_spec() -> None:
    """An initial projector that is not float32 is refused by tensor and dtype."""
    written = safetensors.torch.save({"a": torch.zeros(2, dtype=torch.float16)})

    with pytest.raises(SpecMismatch, match="Tensor a is F16 in the payload and must be F32"):
        read_spec(written, payload_size_bytes=len(written))


def test_half_a_header_is_refused() -> None:
    """Fewer bytes than the header has are refused, even where the rest would be spaces."""
    written = safetensors.torch.save({"a": torch.zeros(2)})

    with pytest.raises(Exception, match="ends within its header"):
        read_spec(written[:20], payload_size_bytes=len(written))


def test_tensors_lie_without_holes() -> None:
    """Spans follow each other from 0 in the spec's order, in bytes of the encoding."""
    spec = ProjectorSpec((TensorSpec("a", "F32", (2, 3)), TensorSpec("b", "F32", ())))

    assert [(span.start, span.end) for span in layout(spec, Encoding.BF16).tensors] == [(0, 12), (12, 14)]


def test_spec_whose_header_is_over_the_cap_has_no_payload() -> None:
    """Names so long that no payload could be admitted are refused where the layout is asked for."""
    spec = ProjectorSpec(tuple(TensorSpec(f"{i:0256}", "F32", (1,)) for i in range(MAX_TENSORS)))

    with pytest.raises(SpecMismatch, match=str(MAX_HEADER_BYTES)):
        layout(spec, Encoding.FP32)


def test_no_tensor_is_called_metadata() -> None:
    """The name that safetensors reserves is no tensor's."""
    with pytest.raises(SpecMismatch, match="reserved"):
        ProjectorSpec((TensorSpec("__metadata__", "F32", (1,)),))


@pytest.mark.parametrize(
    ("names", "check"),
    [(["scale:w", "w"], "name"), ([f"t{index:04}" for index in range(MAX_TENSORS // 2 + 1)], "num_tensors")],
    ids=["a tensor named like scales", "too many with their scales"],
)
def test_spec_without_room_for_scales_is_refused(names: list[str], check: str) -> None:
    """A federation whose int8 payloads could not be told apart, or read, is refused when it is created."""
    spec = ProjectorSpec(tuple(TensorSpec(name, "F32", (1,)) for name in names))

    with pytest.raises(SpecMismatch) as caught:
        layout(spec, Encoding.INT8)

    assert check == caught.value.details["check"]
    assert layout(spec, Encoding.BF16).data_bytes == 2 * len(names)


def test_int8_is_a_quarter_of_float32() -> None:
    """Of a projector of some size, int8 with its scales has 25.05 % of the bytes of float32."""
    spec = ProjectorSpec((TensorSpec("w", "F32", (4096, 1024)),))

    share = layout(spec, Encoding.INT8).data_bytes / layout(spec, Encoding.FP32).data_bytes

    assert 0.25 + 2 / 4096 == share
