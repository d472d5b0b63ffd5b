"""The projector spec: which tensors a projector has, and the fingerprint that both sides compare.

Knows names, dtypes and shapes; knows nothing of values, files or the wire.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from isthmus.errors import SpecMismatch

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""What a federation's or a silo's name matches, whole: it is a part of the store's keys and of file names."""

TENSOR_NAME_PATTERN = re.compile(r"[!-~]{1,256}")
"""What a tensor's name matches, whole: printable ASCII without a space, so that no terminal or log is fooled."""

RESERVED_TENSOR_NAME = "__metadata__"
"""What safetensors calls something other than a tensor."""

MAX_TENSORS = 1024
"""More tensors than any projector has; bounds what one spec costs everywhere it is checked."""


class HasShape(Protocol):
    """A tensor or array, as far as the spec is concerned."""

    @property
    def shape(self) -> Iterable[int]:
        """Its dimensions."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of the projector: its name, safetensors dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        """Product of the shape; 1 for a scalar."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class ProjectorSpec:
    """The tensors of a projector, sorted by name: the order of their bytes in every payload.

    Raises:
        SpecMismatch: There is no tensor, too many, one twice, out of order, badly named, empty, or not F32.
    """

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        if not 1 <= len(names) <= MAX_TENSORS:
            raise SpecMismatch(
                f"A projector spec has 1 to {MAX_TENSORS} tensors, not {len(names)}.",
                check="num_tensors",
                measured=len(names),
                limit=MAX_TENSORS,
            )
        if names != sorted(set(names)):
            raise SpecMismatch("The tensors of a projector spec must be sorted by name and unique.", check="order")
        for tensor in self.tensors:
            _check_tensor(tensor)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the canonical JSON of the tensors: 32 bytes."""
        rows = [[tensor.name, tensor.dtype, list(tensor.shape)] for tensor in self.tensors]
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).digest()

    @property
    def names(self) -> frozenset[str]:
        """Of its tensors."""
        return frozenset(tensor.name for tensor in self.tensors)

    @property
    def num_elements(self) -> int:
        """Values of the whole projector."""
        return sum(tensor.num_elements for tensor in self.tensors)


def spec_of(tensors: Mapping[str, HasShape]) -> ProjectorSpec:
    """The spec of these tensors, as float32.

    Raises:
        SpecMismatch: The tensors make no valid spec.
    """
    return ProjectorSpec(
        tuple(TensorSpec(name, "F32", tuple(int(d) for d in tensors[name].shape)) for name in sorted(tensors))
    )


def require_match(tensors: Mapping[str, HasShape], spec: ProjectorSpec) -> None:
    """Checks that the tensors have exactly the spec's names and shapes.

    Raises:
        SpecMismatch: The first difference, in the spec's order.
    """
    expected = {tensor.name: tensor.shape for tensor in spec.tensors}
    for name, shape in expected.items():
        if name not in tensors:
            raise SpecMismatch(f"Tensor {name} is missing.", tensor=name, check="present", measured="no", limit="yes")
        measured = tuple(int(d) for d in tensors[name].shape)
        if measured != shape:
            raise SpecMismatch(
                f"Tensor {name} has shape {list(measured)}; the federation's spec says {list(shape)}.",
                tensor=name,
                check="shape",
                measured=list(measured),
                limit=list(shape),
            )
    for name in sorted(set(tensors) - set(expected)):
        raise SpecMismatch(
            f"Tensor {name!r} is not in the federation's spec.",
            tensor=name,
            check="expected",
            measured="extra",
            limit="",
        )


def _check_tensor(tensor: TensorSpec) -> None:
    if tensor.name == RESERVED_TENSOR_NAME or not TENSOR_NAME_PATTERN.fullmatch(tensor.name):
        raise SpecMismatch(
            f"Tensor name {tensor.name!r} is not 1 to 256 printable ASCII characters without spaces, or is reserved.",
            tensor=tensor.name,
            check="name",
        )
    if tensor.dtype != "F32":
        raise SpecMismatch(
            f"Tensor {tensor.name} is {tensor.dtype}; projectors are published as F32.",
            tensor=tensor.name,
            check="dtype",
            measured=tensor.dtype,
            limit="F32",
        )
    if any(dimension < 1 for dimension in tensor.shape) or len(tensor.shape) > 8:
        raise SpecMismatch(
            f"Tensor {tensor.name} has shape {list(tensor.shape)}; it may have up to 8 dimensions, each at least 1.",
            tensor=tensor.name,
            check="shape",
            measured=list(tensor.shape),
        )
