"""Recognises the most common honest mistake: a silo that sends its weights where local - global belongs.

Weights point the way of the global projector and are about as large; a delta does neither. Looks at a sample of the
largest tensors, so that it costs a few short reads of the global projector. Pure but for the reader it is given.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.admission.norms import BLOCK_ELEMENTS, Sample
from isthmus.codec import F32, decode
from isthmus.contribution import Encoding
from isthmus.payload import ITEM_BYTES, PREFIX_BYTES, TensorSpan, spans
from isthmus.spec import ProjectorSpec

ReadBase = Callable[[int, int], bytes]
"""Reads `size` bytes from `start` of the base projector's payload, which is float32."""

NUM_SAMPLED = 8
"""So many tensors, the largest, are compared; they hold nearly all of a projector's norm."""

LEAST_COSINE = 0.8
"""Of weights with those they were trained from; that of a delta is near 0 however long the training."""

LEAST_SHARE = 0.5
"""Of the base's norm that full weights have. Training in place that grows every weight by half is no training."""

LEAST_VALUES = 1024
"""Fewer values than this point the same way by chance."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much a payload resembles the base projector itself; estimates from the sample.

    Attributes:
        cosine: Between the two, in [-1, 1]; 0 when either is all zeros.
        base_l2_norm: Of the base projector; for a payload in top_k, of its values where the payload has any.
        num_values: How many values were compared.
    """

    cosine: float
    base_l2_norm: float
    num_values: int

    def is_full_weights(self, l2_norm: float) -> bool:
        """Whether a payload of this norm is weights rather than a delta."""
        return (
            self.num_values >= LEAST_VALUES
            and self.cosine >= LEAST_COSINE
            and l2_norm >= LEAST_SHARE * self.base_l2_norm
        )


def sampled_tensors(spec: ProjectorSpec) -> frozenset[str]:
    """The tensors to keep a sample of."""
    largest = sorted(spec.tensors, key=lambda tensor: (-tensor.num_elements, tensor.name))
    return frozenset(tensor.name for tensor in largest[:NUM_SAMPLED])


def likeness(samples: Mapping[str, Sample], spec: ProjectorSpec, read_base: ReadBase) -> Likeness:
    """Compares a payload's samples with the same places of the base projector.

    Args:
        samples: By name of `sampled_tensors(spec)`, as `aggregator.admission.norms` took them.
        spec: Of both.
        read_base: Called once for the header's length and once for each sampled tensor.
    """
    data_start = PREFIX_BYTES + int.from_bytes(read_base(0, PREFIX_BYTES), "little")
    dot = own = base = 0.0
    num_values = 0
    for span in spans(spec, Encoding.FP32):
        if span.tensor.name not in samples:
            continue
        ours = samples[span.tensor.name]
        theirs = _base_block(span, data_start, read_base)[ours.places].astype(np.float64)
        dot += float(np.add.reduce(ours.values * theirs)) / ours.share
        own += float(np.add.reduce(np.square(ours.values))) / ours.share
        base += float(np.add.reduce(np.square(theirs))) / ours.share
        num_values += len(theirs)
    scale = math.sqrt(own) * math.sqrt(base)
    return Likeness(dot / scale if scale > 0.0 else 0.0, math.sqrt(base), num_values)


def _base_block(span: TensorSpan, data_start: int, read_base: ReadBase) -> F32:
    """The first block of a tensor of the base projector."""
    size = min(span.end - span.start, BLOCK_ELEMENTS * ITEM_BYTES[Encoding.FP32])
    return decode(read_base(data_start + span.start, size), Encoding.FP32)
