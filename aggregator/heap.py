"""How this process's heap keeps and gives back memory. Changes no arithmetic; where there is no glibc it does nothing.

glibc gives every thread a heap of its own, and once it has freed a large block it keeps blocks of that size for later:
with many uploads that is twice what they hold. Chunks and segments come from the system instead, and go back to it.
"""

import ctypes
from contextlib import suppress

MMAP_THRESHOLD_BYTES = 64 << 20
"""Blocks of this size and more are mapped alone: a chunk of 1 MiB is one, what protobuf and grpcio juggle is not."""

MAX_ARENAS = 2
"""Heaps that the threads share; nearly all their work waits for the interpreter's lock or the disk anyway."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX, _M_TRIM = -3, -8, -1  # malloc.h


def bound_heap() -> bool:
    """Settles it for the whole process; whether the C library took it. Call it before threads begin."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        settings = ((_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES), (_M_ARENA_MAX, MAX_ARENAS), (_M_TRIM, 64<<20))
        return sum(int(mallopt(number, value)) for number, value in settings) == len(
            settings
        )  # each says 1 when it took it
    return False
