"""Files that nobody else sees until they are whole, and that no crash leaves behind for good."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_PREFIX = "aside-"


@contextmanager
def aside(folder: Path) -> Iterator[BinaryIO]:
    """An empty file in the folder, open for reading and writing, that is removed at the end; `name` is its path.

    Its writer holds a lock on it. A file without one was left by a process that died, and `clear` removes it.
    """
    file = _open_locked(folder)
    try:
        yield file
    finally:
        # Unlinked while the lock still holds: `clear` never sees a file of a living process unlocked.
        with suppress(FileNotFoundError):
            os.unlink(file.name)
        with suppress(OSError):  # what could not be written was told where it was written
            file.close()


@contextmanager
def lent(folder: Path, content: Path) -> Iterator[str]:
    """A second name, in the folder, of a file that its owner changes no more; removed at the end. Nothing is copied.

    The file is not synced.

    Raises:
        OSError: The file is on another disk, or its file system has no such names.
    """
    with content.open("rb") as file:
        with suppress(BlockingIOError):  # its owner holds the lock already
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        name = folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        os.link(content, name)
        try:
            yield str(name)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)


def moved(name: str, path: Path) -> None:
    """Puts a file in the place of another one; it keeps its name aside, too."""
    second = f"{name}-moved"
    os.link(name, second)
    try:
        os.replace(second, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(second)


def clear(folder: Path) -> int:
    """Removes what dead processes left in the folder; how many files. Those of living ones, and other files, stay.

    One that has another name may stand under a key that nobody synced, and says so for as long as it is here: all is
    synced before it goes.
    """
    removed = 0
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink > 1:
                os.sync()
            path.unlink()
            removed += 1
    return removed


def _open_locked(folder: Path) -> BinaryIO:
    while True:
        path = folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        file = path.open("x+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return file
        except BlockingIOError:
            pass  # `clear` of another process got in between and is about to remove it
        file.close()
