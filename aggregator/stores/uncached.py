"""Reads and writes past the page cache, for what is written once and read once: a delta's segments.

Copying them into the cache, and finding room for them there, costs a replica more than the disk does, and pushes out
what silos ask for again and again: the projectors. Where a file system cannot, the bytes go through the cache.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

LEAST_BYTES = 1 << 20
"""Less than this is no segment, but a document, which is read again; and it saves nothing."""

MOST_BYTES = 8 << 20
"""Larger files are projectors and states: many read them, from the cache."""

_GRAIN_BYTES = 4096
"""Places, sizes and addresses are whole multiples of this on every disk."""

_LEAST_RANGE_BYTES = 256 << 10
"""Ranges shorter than this are worth what the cache reads ahead."""

_DIRECT = getattr(os, "O_DIRECT", 0)
"""Not every system has it."""


def write(descriptor: int, content: bytes | memoryview) -> int:
    """Writes whole grains from the file's beginning; how many bytes, which may be 0. The caller writes the rest.

    Content at an address that is no multiple of a grain may be left to the caller.

    Raises:
        OSError: The disk is full, or fails.
    """
    written = 0
    if len(content) >= LEAST_BYTES:
        whole = memoryview(content)[: len(content) // _GRAIN_BYTES * _GRAIN_BYTES]
        with _past_the_cache(descriptor):
            while written < len(whole):
                written += os.pwrite(descriptor, whole[written:], written)
    return written


_NUM_BUFFERS = 2
"""Through so many ranges are read at once: while one is copied out of its buffer, the disk fills the other."""


class Reader:
    """Reads ranges of segments through a few buffers; threads may share it."""

    def __init__(self) -> None:
        self._free: SimpleQueue[mmap.mmap | None] = SimpleQueue()
        for _ in range(_NUM_BUFFERS):
            self._free.put(None)  # made when it is first needed

    def read(self, descriptor: int, start: int, size: int) -> bytes | None:
        """The file's bytes from `start`, at most `size` of them; None where the cache should be asked.

        Raises:
            OSError: The disk fails.
        """
        length = os.fstat(descriptor).st_size
        end = min(start + size, length)
        if not LEAST_BYTES <= length <= MOST_BYTES or end - start < _LEAST_RANGE_BYTES:
            return None
        try:
            memory = self._free.get_nowait()
        except Empty:
            return None
        try:
            memory = memory or mmap.mmap(-1, MOST_BYTES + _GRAIN_BYTES)
            return _read(descriptor, start, end, memory=memory)
        finally:
            self._free.put(memory)


def _read(descriptor: int, start: int, end: int, *, memory: mmap.mmap) -> bytes | None:
    first = start // _GRAIN_BYTES * _GRAIN_BYTES
    room = -(-(end - first) // _GRAIN_BYTES) * _GRAIN_BYTES
    got = 0
    with memoryview(memory) as buffer, _past_the_cache(descriptor):
        while first + got < end:
            num_bytes = os.preadv(descriptor, [buffer[got:room]], first + got)
            if num_bytes == 0:
                break
            got += num_bytes
        if first + got >= end:
            return bytes(buffer[start - first : end - first])
    return None


@contextmanager
def _past_the_cache(descriptor: int) -> Iterator[None]:
    """Until its end the descriptor goes past the cache, or says EINVAL, which ends the block early and quietly."""
    before = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, before | _DIRECT)
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, before)
