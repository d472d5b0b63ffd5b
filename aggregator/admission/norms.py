"""Measures a payload's values as they stream by: finite or not, and their L2 norms, the same for any chunking.

What is measured are the decoded values. Scales, which come before all values, are judged when the last of them is
there, by `aggregator.admission.scales`, and kept until their values have passed: 2 bytes for each 1024 values.

The order of every float64 operation is fixed by the tensor alone: blocks of `BLOCK_ELEMENTS` from the tensor's start,
the squares of a block summed by numpy's pairwise reduction, the blocks' sums added in order. No BLAS, whose last digits
change with its threads. Holds one block, whatever the payload's size, and the scales.
"""

import math

import numpy as np
from numpy.typing import NDArray

from aggregator.admission.scales import judge_scales, scaled
from isthmus.codec import F32, SCALE_BYTES, decode, num_scales
from isthmus.contribution import Encoding
from isthmus.errors import DeltaNotFinite
from isthmus.payload import ITEM_BYTES, TensorSpan

BLOCK_ELEMENTS = 65_536
"""Values of one block; part of the definition of the norm: another number gives other last digits."""

SAMPLE_ELEMENTS = 4096
"""Most values kept of one tensor, evenly spread over its first block."""


def sample(values: F32) -> NDArray[np.float64]:
    """At most SAMPLE_ELEMENTS of a tensor's first block, always from the same places."""
    step = -(-len(values) // SAMPLE_ELEMENTS)
    return values[::step].astype(np.float64)


class NormMeter:
    """Takes a payload's values in any pieces; afterwards knows every tensor's norm.

    Args:
        spans: Where the tensors lie among the values.
        encoding: How the values are encoded.
        sampled: Names of the tensors of which a sample is kept.
    """

    def __init__(self, spans: tuple[TensorSpan, ...], encoding: Encoding, *, sampled: frozenset[str]) -> None:
        self._spans = spans
        self._encoding = encoding
        self._sampled = sampled
        self._block_bytes = BLOCK_ELEMENTS * ITEM_BYTES[encoding]
        self._pending = bytearray(self._block_bytes)
        self._num_pending = 0
        self._scratch = np.empty(BLOCK_ELEMENTS, np.float64)
        self._scales = bytearray()
        self._scale = 0
        self._index = 0
        self._position = spans[0].start
        self._squares = [0.0] * len(spans)
        self.samples: dict[str, NDArray[np.float64]] = {}

    @property
    def l2_norm(self) -> float:
        """Of all values together."""
        return math.sqrt(sum(self._squares))

    @property
    def tensor_l2_norms(self) -> dict[str, float]:
        """Of each tensor, in the spec's order."""
        return {span.tensor.name: math.sqrt(square) for span, square in zip(self._spans, self._squares, strict=True)}

    def feed(self, data: memoryview) -> None:
        """Takes the next bytes, at most to the end of the last tensor.

        Raises:
            DeltaNotFinite: A block that is complete now holds NaN or infinity.
            PayloadMalformed: A scale, or a value under its scale, is none that encoding gives.
        """
        data = self._take_scales(data)
        while data:
            size = min(self._block_bytes, self._spans[self._index].end - self._position)
            if self._num_pending or len(data) < size:
                data = self._gather(data, size)
            else:
                self._measure(data[:size])
                data = data[size:]

    def _take_scales(self, data: memoryview) -> memoryview:
        """Keeps the scales, and judges them when they are complete; the bytes left over."""
        missing = self._spans[0].start - len(self._scales)
        if missing and data:
            self._scales += data[:missing]
            if len(self._scales) == self._spans[0].start:
                judge_scales(self._scales, self._spans)
        return data[missing:]

    def _decoded(self, block: memoryview, span: TensorSpan) -> F32:
        """The values of one whole block of the current tensor."""
        if not self._scales:
            return decode(block, self._encoding)
        start, self._scale = self._scale, self._scale + num_scales(len(block))
        scales = memoryview(self._scales)[start * SCALE_BYTES : self._scale * SCALE_BYTES]
        return scaled(block, scales, span=span, start=self._position - span.start)

    def _gather(self, data: memoryview, size: int) -> memoryview:
        """Copies a part of a block aside, and measures the block when that completes it; the bytes left over."""
        taken = min(size - self._num_pending, len(data))
        self._pending[self._num_pending : self._num_pending + taken] = data[:taken]
        self._num_pending += taken
        if self._num_pending == size:
            self._num_pending = 0
            self._measure(memoryview(self._pending)[:size])
        return data[taken:]

    def _measure(self, block: memoryview) -> None:
        """Adds one whole block of the current tensor to its sum of squares, and moves on."""
        span = self._spans[self._index]
        with np.errstate(all="ignore"):  # a signalling NaN is refused below, not warned of
            values = self._decoded(block, span)
            squares = self._scratch[: len(values)]
            np.copyto(squares, values)
            total = float(np.add.reduce(np.square(squares, out=squares)))
        # The square of a finite float32 is far below float64's largest, so this is finite exactly when all values are.
        if not math.isfinite(total):
            raise self._not_finite(values, span)
        if self._position == span.start and span.tensor.name in self._sampled:
            self.samples[span.tensor.name] = sample(values)
        self._squares[self._index] += total
        self._position += len(block)
        if self._position == span.end:
            self._index += 1

    def _not_finite(self, values: F32, span: TensorSpan) -> DeltaNotFinite:
        place = int(np.argmin(np.isfinite(values)))
        value = float(values[place])
        element = (self._position - span.start) // ITEM_BYTES[self._encoding] + place
        name = span.tensor.name
        return DeltaNotFinite(
            f"Tensor {name} of the delta holds {value} at element {element} of {span.tensor.num_elements}. "
            "The local training diverged: lower the learning rate or clip gradients, and train again from the pulled "
            "projector.",
            tensor=name,
            check="NONFINITE",
            measured=value,
            limit="finite",
            element=element,
        )
