"""Judges what top_k alone can have wrong: the indices of the values that are kept, and kept zeros. Pure.

What passes is what encoding writes for the values that it decodes to: no two payloads decode alike.
"""

import numpy as np

from isthmus.codec import F32, Data
from isthmus.errors import PayloadMalformed
from isthmus.payload import TensorSpan
from isthmus.strict_json import malformed
from isthmus.top_k import BLOCK, KEPT, MAGNITUDE_BITS, U16, decode_top_k, read_entries


def kept(data: Data, *, span: TensorSpan, start: int, num_values: int) -> F32:
    """The decoded values of a run of one tensor that begins with a block, once its entries are judged.

    Whether the values are finite is not looked at.

    Args:
        data: The run's entries.
        span: Of the tensor.
        start: Position of the run's first value in the tensor.
        num_values: How many values the run stands for.

    Raises:
        PayloadMalformed: An index lies beyond its block, or not above the one before it; or a value that is 0 is not
            +0, or is kept although one of lower index is not; names tensor, block, entry and element (`check`:
            INDEX_RANGE, INDEX_ORDER, ENTRY_ZERO).
    """
    entries = read_entries(data)
    indices, bits = entries[:, 0], entries[:, 1]
    ranks = np.arange(len(entries)) % KEPT
    lengths = np.minimum(BLOCK, num_values - np.arange(len(entries)) // KEPT * BLOCK)
    rises = np.ones(len(entries), bool)
    rises[1:] = (indices[1:] > indices[:-1]) | (ranks[1:] == 0)
    wrong_zero = ((bits & MAGNITUDE_BITS) == 0) & ((bits != 0) | (indices != ranks))
    wrong = (indices >= lengths) | ~rises | wrong_zero
    if wrong.any():
        raise _wrong(entries, int(np.argmax(wrong)), span=span, start=start, num_values=num_values)
    return decode_top_k(data, num_values=num_values)


def _wrong(entries: U16, place: int, *, span: TensorSpan, start: int, num_values: int) -> PayloadMalformed:
    """What is wrong with the first entry that is."""
    block, rank = divmod(place, KEPT)
    index, length = int(entries[place, 0]), min(BLOCK, num_values - block * BLOCK)
    before = int(entries[place - 1, 0]) if rank else -1
    if index >= length:
        check, measured, limit = "INDEX_RANGE", str(index), f"0 to {length - 1}"
        must = f"has index {index}; its block ends with index {length - 1}"
    elif index <= before:
        check, measured, limit = "INDEX_ORDER", str(index), f"above {before}"
        must = f"has index {index} after {before}; within a block indices must rise"
    else:
        sign = "-" if entries[place, 1] else "+"
        check, measured, limit = "ENTRY_ZERO", f"{sign}0 at index {index}", f"+0 at index {rank}"
        must = f"is {sign}0 at index {index}; a 0 that is kept must be +0, and so must be all values before it"
    return malformed(
        check,
        f"Entry {rank} of block {start // BLOCK + block} of tensor {span.tensor.name} {must}.",
        measured=measured,
        limit=limit,
        tensor=span.tensor.name,
        block=start // BLOCK + block,
        entry=rank,
    )
