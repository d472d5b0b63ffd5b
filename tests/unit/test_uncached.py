"""Segments go past the page cache, and nobody can tell by their bytes."""

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


def test_segments_leave_the_cache_alone(store: LocalStore) -> None:
    """Neither writing nor reading a segment puts it into the page cache."""
    store.put("segment", in_pages(PATTERN[: 4 << 20]))
    with (store._root / "segment").open("rb") as file:
        if not _takes_direct_reads(file.fileno()):
            pytest.skip("this disk's file system knows no reads past the cache")

        assert store.get("segment", start=5, size=2 << 20) == PATTERN[5 : 5 + (2 << 20)]

        with pytest.raises(BlockingIOError):
            os.preadv(file.fileno(), [bytearray(1)], 1 << 20, os.RWF_NOWAIT)


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


def _takes_direct_reads(descriptor: int) -> bool:
    with mmap.mmap(-1, 4096) as page:
        before = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT)
        try:
            return os.preadv(before, [page], 0) == 4096
        except OSError:
            return False
        finally:
            os.close(before)
