"""Writes canonical float32 safetensors block by block, into a file that may be larger than memory."""

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from isthmus.codec import F32
from isthmus.contribution import Encoding
from isthmus.payload import ITEM_BYTES, layout
from isthmus.spec import ProjectorSpec


@dataclass(frozen=True, slots=True)
class Written:
    """One file that was written whole.

    Attributes:
        digest: SHA-256 of its bytes, 32 bytes.
        size_bytes: How many; at least 1.
    """

    digest: bytes
    size_bytes: int


class PayloadWriter:
    """One payload on its way into a file. Blocks may come in any order, each once; all before `finish`.

    Blocks that come in the payload's order are hashed on their way; otherwise the file is read once more for that.

    Args:
        out: An empty file open for reading and writing, seekable.
        spec: What the payload holds.
    """

    def __init__(self, out: BinaryIO, spec: ProjectorSpec) -> None:
        placed = layout(spec, Encoding.FP32)
        self._out = out
        self._hash = hashlib.sha256(placed.header)
        self._hashed_bytes = len(placed.header)
        self._size_bytes = placed.size_bytes
        self._starts = {span.tensor.name: placed.data_start + span.start for span in placed.tensors}
        out.write(placed.header)

    def put(self, tensor: str, start: int, values: F32) -> None:
        """Writes float32 values [block] of a tensor, from its flattened position `start` on."""
        offset = self._starts[tensor] + start * ITEM_BYTES[Encoding.FP32]
        data = np.ascontiguousarray(values, "<f4").view(np.uint8).data
        if offset == self._hashed_bytes:
            self._hash.update(data)
            self._hashed_bytes += len(data)
        self._out.seek(offset)
        self._out.write(data)

    def finish(self) -> Written:
        """Flushes the file and says what it holds."""
        self._out.flush()
        if self._hashed_bytes == self._size_bytes:
            digest = self._hash.digest()
        else:
            self._out.seek(0)
            digest = hashlib.file_digest(self._out, "sha256").digest()  # type: ignore[arg-type]  # BinaryIO reads into
        return Written(digest, size_bytes=self._out.seek(0, 2))  # 2: from the file's end
