"""Order statistics of a block: each coordinate's values sorted across silos."""

from isthmus.codec import F32

_COLUMNS = 4096
"""Coordinates sorted at a time: few enough to stay in a processor's cache, whatever the block's length."""


def sort_across_silos(values: F32) -> None:
    """Sorts each column of `values` [num_silos, block] in place, ascending.

    Negative zeros become zeros first: the two compare equal, so which of them comes first would be the sort's choice,
    and it chooses differently on different processors.
    """
    values += 0.0
    for start in range(0, values.shape[1], _COLUMNS):
        values[:, start : start + _COLUMNS].sort(axis=0)
