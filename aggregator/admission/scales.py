"""Judges what int8 alone can have wrong: scales, and the values that stand under them. Pure.

What passes decodes to finite float32 by one exact multiplication, and says nothing that decoding does not show.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.codec import F32, LEAST_SCALE, MOST_SCALE, SCALE_BLOCK, Data, decode_int8, decode_scales, num_scales
from isthmus.errors import PayloadMalformed
from isthmus.payload import TensorSpan
from isthmus.strict_json import malformed

LEAST_VALUE = -127
"""Least value of int8; -128 has no counterpart above 0, and encoding never gives it."""

_SIGN_BIT = 0x8000


def judge_scales(data: Data, spans: tuple[TensorSpan, ...]) -> None:
    """Checks every scale of a payload.

    Args:
        data: Scales of all tensors, in the spec's order.
        spans: Of the payload's tensors.

    Raises:
        PayloadMalformed: One is NaN, infinite, negative, or neither 0 nor from LEAST_SCALE to MOST_SCALE; names tensor
            and block (`check`: SCALE_RANGE).
    """
    scales = decode_scales(data)
    signed = np.frombuffer(data, "<u2") >= _SIGN_BIT
    wrong = signed | ~((scales == 0) | ((scales >= LEAST_SCALE) & (scales <= MOST_SCALE)))
    if wrong.any():
        raise _wrong_scale(scales, int(np.argmax(wrong)), spans)


def scaled(data: Data, scales: Data, *, span: TensorSpan, start: int) -> F32:
    """The decoded values of a run of one tensor that begins with a block, once they are judged.

    Args:
        data: The values; int8.
        scales: Of their blocks, judged before.
        span: Of the tensor.
        start: Position of the first value in the tensor.

    Raises:
        PayloadMalformed: A value is -128, or is not 0 under a scale of 0; names tensor, block and element (`check`:
            VALUE_RANGE, SCALE_ZERO).
    """
    levels = np.frombuffer(data, np.int8)
    unknown = levels < LEAST_VALUE
    if unknown.any():
        limit = f"{LEAST_VALUE} to {-LEAST_VALUE}"
        raise _wrong_value("VALUE_RANGE", levels, int(np.argmax(unknown)), span=span, start=start, limit=limit)
    for block in np.flatnonzero(decode_scales(scales) == 0).tolist():
        first = block * SCALE_BLOCK
        hidden = levels[first : first + SCALE_BLOCK] != 0
        if hidden.any():
            place, limit = first + int(np.argmax(hidden)), "0 under a scale of 0"
            raise _wrong_value("SCALE_ZERO", levels, place, span=span, start=start, limit=limit)
    return decode_int8(data, scales=scales)


def _wrong_scale(scales: F32, place: int, spans: tuple[TensorSpan, ...]) -> PayloadMalformed:
    block, tensor = place, spans[0].tensor
    for span in spans:
        tensor = span.tensor
        if block < num_scales(tensor.num_elements):
            break
        block -= num_scales(tensor.num_elements)
    measured, limit = f"{scales[place]:.9g}", f"0, or {LEAST_SCALE:.9g} to {MOST_SCALE:.9g}"
    return malformed(
        "SCALE_RANGE",
        f"Block {block} of tensor {tensor.name} has the scale {measured}; it must be {limit}.",
        measured=measured,
        limit=limit,
        tensor=tensor.name,
        block=block,
    )


def _wrong_value(
    check: str, levels: NDArray[np.int8], place: int, *, span: TensorSpan, start: int, limit: str
) -> PayloadMalformed:
    element, value = start + place, int(levels[place])
    return malformed(
        check,
        f"Tensor {span.tensor.name} holds {value} at element {element} of {span.tensor.num_elements}; in int8 it must "
        f"be {limit}.",
        measured=value,
        limit=limit,
        tensor=span.tensor.name,
        block=element // SCALE_BLOCK,
        element=element,
    )
