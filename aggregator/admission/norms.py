"""Measures a payload's values as they stream by: finite or not, and their L2 norms, the same for any chunking.

What is measured are the decoded values. Scales, which come before all values, are judged when the last of them is
there, by `aggregator.admission.scales`, and kept until their values have passed: 2 bytes for each 1024 values. Entries
of top_k are judged by `aggregator.admission.entries`, block by block.

The order of every float64 operation is fixed by the tensor alone: blocks of `BLOCK_ELEMENTS` from the tensor's start,
the squares of a block summed by numpy's pairwise reduction, the blocks' sums added in order. No BLAS, whose last digits
change with its threads. Holds one block, whatever the payload's size, and the scales.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregator.admission.entries import kept
from aggregator.admission.scales import judge_scales, scaled
from isthmus.codec import F32, SCALE_BYTES, decode, num_scales
from isthmus.contribution import Encoding
from isthmus.errors import DeltaNotFinite
from isthmus.payload import TensorSpan, values_bytes

BLOCK_ELEMENTS = 65_536
"""Values of one block; part of the definition of the norm: another number gives other last digits."""

SAMPLE_ELEMENTS = 4096
"""Most values kept of one tensor, evenly spread over its first block."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some values of a tensor's first block.

    Attributes:
        places: Where they lie in the block; int64 [num_values].
        values: float64 [num_values].
        share: Of the tensor's values, which part they stand for; above 0, at most 1.
    """

    places: NDArray[np.int64]
    values: NDArray[np.float64]
    share: float


def sample(values: F32, encoding: Encoding, *, num_elements: int) -> Sample:
    """At most SAMPLE_ELEMENTS of a tensor's first block: evenly spread; of top_k, all that are not 0.

    Args:
        values: The block's, decoded: float32 [block].
        encoding: How the tensor travels.
        num_elements: Of the tensor.
    """
    if encoding is Encoding.TOP_K:
        places, share = np.flatnonzero(values), len(values) / num_elements
    else:
        places = np.arange(0, len(values), -(-len(values) // SAMPLE_ELEMENTS))
        share = len(places) / num_elements
    return Sample(places, values[places].astype(np.float64), share)


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
        self._pending = bytearray(values_bytes(BLOCK_ELEMENTS, encoding))
        self._num_pending = 0
        self._scratch = np.empty(BLOCK_ELEMENTS, np.float64)
        self._scales = bytearray()
        self._scale = 0
        self._index = 0
        self._element = 0
        self._squares = [0.0] * len(spans)
        self.samples: dict[str, Sample] = {}

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
            PayloadMalformed: A scale, a value under its scale, or an entry of top_k is none that encoding gives.
        """
        data = self._take_scales(data)
        while data:
            size = values_bytes(self._count, self._encoding)
            if self._num_pending or len(data) < size:
                data = self._gather(data, size)
            else:
                self._measure(data[:size])
                data = data[size:]

    @property
    def _count(self) -> int:
        """Values of the block that comes next, or is complete now, in the current tensor."""
        return min(BLOCK_ELEMENTS, self._spans[self._index].tensor.num_elements - self._element)

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
        if self._encoding is Encoding.TOP_K:
            return kept(block, span=span, start=self._element, num_values=self._count)
        if not self._scales:
            return decode(block, self._encoding, num_values=self._count)
        start, self._scale = self._scale, self._scale + num_scales(len(block))
        scales = memoryview(self._scales)[start * SCALE_BYTES : self._scale * SCALE_BYTES]
        return scaled(block, scales, span=span, start=self._element)

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
        if self._element == 0 and span.tensor.name in self._sampled:
            self.samples[span.tensor.name] = sample(values, self._encoding, num_elements=span.tensor.num_elements)
        self._squares[self._index] += total
        self._element += len(values)
        if self._element == span.tensor.num_elements:
            self._index, self._element = self._index + 1, 0

    def _not_finite(self, values: F32, span: TensorSpan) -> DeltaNotFinite:
        place = int(np.argmin(np.isfinite(values)))
        value = float(values[place])
        element = self._element + place
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
