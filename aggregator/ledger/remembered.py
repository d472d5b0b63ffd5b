"""Small memories of what never changes. They only save reads: without them every answer is the same."""

from collections.abc import Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_REMEMBERED = 4096
"""Immutable values kept in memory of each kind; above it, memory starts anew."""


def remember(memory: dict[K, V], key: K, value: V) -> None:
    """Keeps an immutable value, within `MAX_REMEMBERED`."""
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = value


def last_true(holds: Callable[[int], bool], known: int) -> int:
    """The last number for which `holds`, given that it does for `known`, and for none after the first where it fails.

    Doubles its stride until it fails, then halves the gap: about twice the logarithm of the distance in calls.
    """
    stride = 1
    while holds(known + stride):
        known, stride = known + stride, 2 * stride
    while stride > 1:
        stride //= 2
        if holds(known + stride):
            known += stride
    return known
