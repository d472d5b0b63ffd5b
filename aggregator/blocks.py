"""A roster as blocks: the same range of one tensor from every delta, so that no rule holds a whole delta."""

from collections.abc import Callable
from dataclasses import dataclass

Reader = Callable[[int, int], bytes]
"""`read(offset_bytes, size_bytes)` gives exactly these bytes of one payload, which has them all."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Stored safetensors: how to read it, and where its values begin."""

    read: Reader
    data_start_bytes: int


def open_payload(read: Reader) -> Payload:
    """The payload behind `read`, whose first 8 bytes say where its values begin."""
    return Payload(read, 8 + int.from_bytes(read(0, 8), "little"))
