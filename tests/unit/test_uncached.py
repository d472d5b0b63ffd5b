"""Segments go past the page cache, and nobody can tell by their bytes."""

import ctypes
import errno
import mmap
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aggregator.stores import uncached
from aggregator.stores.local import LocalStore

SIZES = st.one_of(
    st.integers(uncached.LEAST_BYTES - 2, uncached.LEAST_BYTES + 5000),
    st.integers(4 * uncached.LEAST_BYTES - 2, 4 * uncached.LEAST_BYTES),
    st.integers(uncached.MOST_BYTES - 1, uncached.MOST_BYTES + 1),
)
PATTERN = os.urandom(uncached.MOST_BYTES + 1)


def in_pages(content: bytes) -> memoryview:
    """The content at an address that a disk takes as it is."""
    pages = mmap.mmap(-1, len(content))
    pages[:] = content
    return memoryview(pages)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A store on this machine's disk."""
    return LocalStore(tmp_path_factory.mktemp("disk") / "store")


@given(size=SIZES, aligned=st.booleans(), data=st.data())
@example(size=uncached.LEAST_BYTES, aligned=True, data=None)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_range_reads_as_it_was_written(
    store: LocalStore, size: int, aligned: bool, data: st.DataObject | None
) -> None:
    """Whatever size and address content has, and whatever range is asked for, its bytes come back."""
    content = PATTERN[:size]
    start = data.draw(st.integers(0, size + 1)) if data else 1
    length = data.draw(st.integers(0, size + 5000)) if data else size

    store.put("k", in_pages(content) if aligned else content)

    assert store.get("k", start=start, size=length) == content[start : start + length]
    assert store.get("k") == content


def test_segments_leave_the_cache_alone(store: LocalStore, tmp_path: Path) -> None:
    """Neither writing nor reading a segment puts it into the page cache."""
    if not _knows_ways_past_the_cache(tmp_path):
        pytest.skip("this disk's file system knows no way past the cache")
    store.put("segment", in_pages(PATTERN[: 4 << 20]))

    assert store.get("segment", start=5, size=2 << 20) == PATTERN[5 : 5 + (2 << 20)]

    with (store._root / "segment").open("rb") as file:
        assert _num_pages_in_cache(file.fileno()) == 0
        file.read()
        assert _num_pages_in_cache(file.fileno()) > 0  # or the measure tells nothing


@pytest.mark.parametrize("refused", ["pwrite", "preadv"])
def test_file_system_that_cannot_is_used_all_the_same(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Where the system refuses direct access, content is written and read through the cache."""

    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, refused, refuse)

    store.put("refused", in_pages(PATTERN[: 4 << 20]))

    assert store.get("refused", start=9, size=3 << 20) == PATTERN[9 : 9 + (3 << 20)]


def test_readers_do_not_mix(store: LocalStore) -> None:
    """Threads that read different segments at once each get their own bytes."""
    kept = {f"mixed-{number}": bytes([number]) * (2 << 20) for number in range(4)}
    for key, content in kept.items():
        store.put(key, in_pages(content))
    wrong: list[str] = []

    def read(key: str) -> None:
        for _ in range(20):
            if store.get(key, start=1, size=1 << 20) != kept[key][: 1 << 20]:
                wrong.append(key)

    threads = [threading.Thread(target=read, args=(key,)) for key in kept]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk is not taken for a file system that cannot."""
    store = LocalStore(tmp_path / "store")

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(Exception, match="Its disk is full"):
        store.put("k", in_pages(PATTERN[: 2 << 20]))


def _knows_ways_past_the_cache(folder: Path) -> bool:
    """Some file systems refuse; others, like those in memory, are a cache themselves."""
    try:
        probe = os.open(folder / "probe", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    except OSError:
        return False
    try:
        os.pwrite(probe, in_pages(bytes(mmap.PAGESIZE)), 0)
        return _num_pages_in_cache(probe) == 0
    except OSError:
        return False
    finally:
        os.close(probe)


def _num_pages_in_cache(descriptor: int) -> int:
    """How many of a file's pages the cache holds. A read that must not wait (RWF_NOWAIT) would fetch them itself."""
    size = os.fstat(descriptor).st_size
    resident = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        try:
            failed = ctypes.CDLL(None, use_errno=True).mincore(ctypes.byref(first), ctypes.c_size_t(size), resident)
        finally:
            del first  # or the mapping could not be closed
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(page[0] & 1 for page in resident)
