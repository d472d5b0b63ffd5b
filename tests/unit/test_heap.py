"""The heap of a process that serves."""

import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.heap import MMAP_THRESHOLD_BYTES, bound_heap
from isthmus.chunks import SEGMENT_BYTES

ROOT = Path(__file__).parents[2]

PROGRAM = """
import resource
import sys
import threading
from aggregator.heap import bound_heap
if sys.argv[1] == "bounded":
    assert bound_heap()
def receive():
    for _ in range(64):
        chunks = [bytes(1 << 20) for _ in range(4)]
        del chunks
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=receive)
    thread.start()
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def num_faults(heap: str) -> int:
    """How many pages a thread fetches from the system for 256 MiB of chunks, four at a time, after another did."""
    start = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'common')]!r}\n{PROGRAM}"
    command = [sys.executable, "-c", start, heap]
    return int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="settles something of glibc's")
def test_freed_chunks_are_used_again() -> None:
    """Chunks take the memory of those before them; left alone, glibc fetches pages for nearly all of them anew."""
    bounded, as_it_is = num_faults("bounded"), num_faults("as it is")

    assert bounded < as_it_is / 4
    assert bounded < 4 * (1 << 20) // 4096 + 500  # the four chunks at a time, and what a thread takes


def test_older_libraries_take_the_threshold() -> None:
    """Older glibc refuses more than half of its largest heap, which has 64 MiB; what is handled is smaller."""
    assert 2 * SEGMENT_BYTES < MMAP_THRESHOLD_BYTES <= (64 << 20) // 2


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no mallopt nothing is settled, and nothing fails."""
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())

    assert not bound_heap()


GIVING = """
import sys
from pathlib import Path
from aggregator.heap import Spare, bound_heap
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
bound_heap()
spare = Spare()
spare.give_back()
before = resident()
chunks = [bytearray(b"x") * (1 << 20) for _ in range(200)]
kept = bytearray(b"x") * (1 << 20)  # after them: the end of the heap is in use
if sys.argv[1] == "in use":
    spare.give_back()
del chunks
held = resident() - before
spare.give_back()
print(held, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="settles something of glibc's")
@pytest.mark.parametrize("before", ["nothing", "in use"])
def test_spare_memory_goes_back_when_there_is_nothing_to_do(before: str) -> None:
    """What a crowd of chunks left in the heap is the system's again, also below memory that is in use.

    It makes no difference that memory was given back while the chunks were in use.
    """
    start = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'common')]!r}\n{GIVING}"
    ran = subprocess.run([sys.executable, "-c", start, before], capture_output=True, text=True, timeout=60, check=True)
    held, after = map(int, ran.stdout.split())

    assert held > 150
    assert after < 20
