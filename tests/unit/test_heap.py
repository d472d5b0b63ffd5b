"""The heap of a process that serves."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import ctypes
import sys
from aggregator.heap import bound_heap
class Info(ctypes.Structure):  # malloc.h: the sizes that mallinfo2 tells
    _fields_ = [(name, ctypes.c_size_t) for name in
        ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes, libc.mallinfo2.restype = ctypes.c_void_p, [ctypes.c_void_p], Info
if sys.argv[1] == "bounded":
    assert bound_heap()
libc.free(libc.malloc(20 << 20))  # from now on glibc, left alone, keeps blocks of up to this size
before = libc.mallinfo2().hblks
libc.malloc(1 << 20)
print(libc.mallinfo2().hblks - before)
"""


def num_mapped(heap: str) -> int:
    """How many of one block of a chunk's size come from the system alone, after a larger one was freed."""
    start = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'common')]!r}\n{PROGRAM}"
    command = [sys.executable, "-c", start, heap]
    return int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="settles something of glibc's, from 2.33 on")
def test_chunks_are_mapped_alone_and_so_go_back() -> None:
    """A block of a chunk's size is the system's own while it lives; left alone, glibc takes it from its heap."""
    assert (1, 0) == (num_mapped("bounded"), num_mapped("as it is"))
