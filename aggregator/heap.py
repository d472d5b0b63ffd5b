"""How this process's heap keeps and gives back memory. Changes no arithmetic; where there is no glibc it does nothing.

glibc gives every thread a heap of its own: with many uploads that is twice what they hold. And it takes each block of a
chunk's size from the system and gives it back, so that every page of every chunk is fetched and cleared anew: that was
much of a replica's work. Here all threads share two heaps, and freed chunks stay in them for the next,
until the process has nothing to do.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

MMAP_THRESHOLD_BYTES = 32 << 20
"""Blocks of this size and more are mapped alone, and go back when they are freed; chunks and segments are smaller.

The most that older glibc (of 2021, for one) takes. More is refused there, and since a trim threshold alone ends
glibc's own adjustment, each chunk would be mapped alone from then on.
"""

TRIM_BYTES = 64 << 20
"""How much free memory the end of a heap keeps while there is work."""

_LEAST_GROWTH_BYTES = 8 << 20
"""What a process must be larger by than it was before it is worth looking for what it can give back."""

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


class Spare:
    """What a heap keeps beyond need, given back to the system when there is nothing to do.

    Measured from the least that the process ever came down to: memory that was in use when it last gave back, by a
    round being combined for one, is spare later without a growth that would show it.
    """

    def __init__(self) -> None:
        self._least_bytes = 0

    def give_back(self) -> None:
        """Gives back whole pages that hold nothing, if the process is larger than it was; cheap when it is not."""
        with suppress(OSError, AttributeError):
            if _resident_bytes() > self._least_bytes + _LEAST_GROWTH_BYTES:
                ctypes.CDLL(None).malloc_trim(0)
                left = _resident_bytes()
                self._least_bytes = min(self._least_bytes or left, left)


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
