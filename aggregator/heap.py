"""How this process's heap keeps and gives back memory. Changes no arithmetic; where there is no glibc it does nothing.

glibc gives every thread a heap of its own: with many uploads that is twice what they hold. And it takes each block of a
chunk's size from the system and gives it back, so that every page of every chunk is fetched and cleared anew: that was
half of a replica's work (docs/LOG.md). Here all threads share two heaps, and freed chunks stay in them for the next.
"""

import ctypes
from contextlib import suppress

MMAP_THRESHOLD_BYTES = 64 << 20
"""Blocks of this size and more are mapped alone, and go back when they are freed; chunks and segments are smaller."""

TRIM_BYTES = 64 << 20
"""How much free memory the end of a heap keeps."""

MAX_ARENAS = 2
"""Heaps that the threads share; nearly all their work waits for the interpreter's lock or the disk anyway."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def bound_heap() -> bool:
    """Settles it for the whole process; whether the C library took it. Call it before threads begin."""
    settings = {
        _M_MMAP_THRESHOLD: MMAP_THRESHOLD_BYTES,
        _M_TRIM_THRESHOLD: TRIM_BYTES,
        _M_ARENA_MAX: MAX_ARENAS,
    }
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        taken = [mallopt(number, value) for number, value in settings.items()]
        return taken == [1] * len(settings)
    return False
