"""The store in a local folder: what a verb returned for survives the loss of power, not only of the process.

A key is a path below the folder. Content is written aside, synced, and then linked (create-only) or renamed (overwrite)
to its key, and the folders above it are synced. Processes may share the folder, also from several containers of one
machine; the file system must have hard links and locks.

A file keeps its name aside until its key is durable: whoever reads a key of two names syncs it first, for what is read
is answered for, and who made the key may have died before its sync.
"""

import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from aggregator.stores import uncached
from aggregator.stores.aside import aside, clear, lent, moved
from aggregator.stores.contract import Content, Entry, require_key
from isthmus.errors import ConfigInvalid, StoreFull, StoreUnavailable

ASIDE = "~aside"
"""The folder of files not yet under their key; no key may hold "~"."""

_RETRY_SECONDS = 5.0
"""Disks are mended by people: asking more often would only fill the log."""

_MAX_PLACE_TRIES = 100

_MAX_SETTLED = 4096
"""Folders remembered as durable; what is forgotten is only synced once more."""

_GET_GENERATION = 0x80087601
"""FS_IOC_GETVERSION of linux/fs.h: with the inode's number it tells a folder from every later one."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_ADVICE = {
    errno.ENOSPC: "Its disk is full: free some space or give it a larger disk.",
    errno.EDQUOT: "Its disk quota is used up: free some space or raise the quota.",
    errno.EROFS: "Its file system is mounted read-only: mount it read-write.",
    errno.EACCES: "The aggregator may not do this there: give its user the rights to read and write.",
    errno.EPERM: "The aggregator may not do this there: give its user the rights, on a file system with hard links.",
    errno.EOPNOTSUPP: "Its file system has no hard links or locks: use one that has, or a bucket.",
    errno.EIO: "Its disk reports errors: check the disk.",
    errno.EMFILE: "The aggregator has too many files open: raise its limit of open files.",
}


class LocalStore:
    """The five verbs over a folder; see `aggregator.stores.Store`.

    Args:
        root: An existing folder, or one to be made in an existing folder.
        read_only: Nothing is made in it, so it may lie on a disk that takes nothing; only `get` and `list` are called.

    Raises:
        ConfigInvalid: The folder cannot be made, read or written.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self._root = root.absolute()
        self._aside = self._root / ASIDE
        self._read_only = read_only
        self._settled: dict[Path, tuple[int, ...]] = {}
        self._uncached = uncached.Reader()
        try:
            if read_only:
                os.listdir(self._root)
                return
            if not self._root.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, f"there is no folder {self._root.parent}")
            self._aside.mkdir(parents=True, exist_ok=True)
            clear(self._aside)
            with aside(self._aside):
                self._sync(self._root)
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "Make the folder above it, or name another one.")
            raise ConfigInvalid(f"The store's folder {root} cannot be used ({error.strerror}). {advice}") from error

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """The bytes of `key` from `start`, at most `size` of them."""
        with self._told(key):
            try:
                with self._path(key).open("rb") as file:
                    if (
                        not self._read_only and os.fstat(file.fileno()).st_nlink > 1
                    ):  # whoever made it has not synced it yet, or never did
                        self._sync(self._path(key).parent)
                    if size and (data := self._uncached.read(file.fileno(), start, size)) is not None:
                        return data
                    file.seek(start)
                    return file.read(-1 if size is None else size)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require_root()
                raise KeyError(key) from None

    def put(self, key: str, content: Content) -> None:
        """Makes `key` hold `content`."""
        path = self._path(key)
        with self._told(key), self._written(content) as written:
            self._place(path, lambda: moved(written, path))

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Makes `key` hold `content` unless it exists; True when this call created it."""
        path = self._path(key)
        with self._told(key):
            if path.exists():
                # Whoever created it may not have synced it yet, and this answer is taken for durable.
                self._sync(path.parent)
                return False
            with self._written(content) as written:
                try:
                    self._place(path, lambda: os.link(written, path))
                except FileExistsError:
                    self._sync(path.parent)
                    return False
            return True

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every key under `prefix`, sorted."""
        folder = self._path(prefix) if prefix else self._root
        with self._told(prefix):
            self._require_root()
            return iter(sorted(_walk(str(folder), f"{prefix}/" if prefix else "")))

    def delete(self, key: str) -> None:
        """Removes `key` if it exists, and the folders that this leaves empty."""
        path = self._path(key)
        with self._told(key):
            self._require_root()
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            folder = path.parent
            while folder != self._root and _is_removed(folder):
                folder = folder.parent
            self._sync(folder)

    def _path(self, key: str) -> Path:
        require_key(key)
        return self._root / key

    @contextmanager
    def _written(self, content: Content) -> Iterator[str]:
        """The path of a synced file that holds the content and is under no key yet."""
        with ExitStack() as kept:
            name = ""
            if isinstance(content, Path):
                with suppress(OSError):  # it is on another disk: copied, then
                    name = kept.enter_context(lent(self._aside, content))
                if name:  # a disk tells of what it lost once: a copy, synced in turn, might not be told
                    with open(name, "rb") as file:
                        os.fsync(file.fileno())
            yield name or kept.enter_context(self._copied(content))

    @contextmanager
    def _copied(self, content: Content) -> Iterator[str]:
        with aside(self._aside) as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                written = uncached.write(file.fileno(), content)
                file.seek(written)
                file.write(memoryview(content)[written:])
            file.flush()
            os.fsync(file.fileno())
            yield file.name

    def _place(self, path: Path, make: Callable[[], None]) -> None:
        """Makes the key's directory entry, and it durable; again if a racing delete removed the folder meanwhile."""
        for _ in range(_MAX_PLACE_TRIES):
            self._require_root()
            with suppress(FileNotFoundError):
                self._make_folder(path.parent)
                make()
                break
        else:
            raise FileNotFoundError(errno.ENOENT, "its folders are removed as fast as they are made")
        self._sync(path.parent)

    def _make_folder(self, folder: Path) -> None:
        """Makes a folder and those above it, but never the store's own: a disk that went away is not replaced."""
        if folder == self._root:
            return
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)

    def _sync(self, folder: Path) -> None:
        """Makes the entries of the folder durable, and of all above it: any of them may have been made just now.

        A folder whose own entry was made durable once stays so for as long as it is that very folder, so only what is
        new is synced up to the root: each sync costs a flush of the disk.
        """
        reached: dict[Path, tuple[int, ...]] = {}
        while True:
            with suppress(FileNotFoundError):  # its last key was deleted meanwhile
                identity = _synced(folder)
                if identity and self._settled.get(folder) == identity:
                    break
                reached[folder] = identity
            if folder == self._root:
                break
            folder = folder.parent
        self._settle(reached)

    def _settle(self, reached: dict[Path, tuple[int, ...]]) -> None:
        """Remembers folders as durable, now that all above them are."""
        if len(self._settled) + len(reached) > _MAX_SETTLED:
            self._settled = {}  # not cleared: another thread may be reading it
        self._settled.update((path, identity) for path, identity in reached.items() if identity)

    def _require_root(self) -> None:
        """Checks that the folder is there and ours: a disk that is not mounted must not look like an empty store."""
        if not (self._root if self._read_only else self._aside).is_dir():
            raise StoreUnavailable(
                f"The store's folder {self._root} is gone, or is another one. Mount its disk again.",
                retry_after_seconds=_RETRY_SECONDS,
            )

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turns what the operating system says into an error that tells what to do."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self._require_root()
            advice = _ADVICE.get(error.errno or 0, "See the operating system's log.")
            failure = StoreFull if error.errno in _FULL else StoreUnavailable
            raise failure(
                f"The store's folder {self._root} failed at {key} ({error.strerror}). {advice}",
                retry_after_seconds=_RETRY_SECONDS,
            ) from error


def _walk(folder: str, prefix: str) -> Iterator[Entry]:
    """Every file below the folder, as a key that begins with the prefix. Plain text: a `Path` for each costs more."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name != ASIDE]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        key = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{key}/")
        else:
            with suppress(FileNotFoundError):  # deleted since the folder was read
                yield Entry(key, entry.stat(follow_symlinks=False).st_size)


def _synced(folder: Path) -> tuple[int, ...]:
    """Makes the folder's entries durable; what tells it from every other folder, () where the file system says not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
        return identity_of(descriptor)
    finally:
        os.close(descriptor)


def identity_of(descriptor: int) -> tuple[int, ...]:
    """What tells an open folder from every other one, later ones too; () where the file system says not."""
    try:
        generation = fcntl.ioctl(descriptor, _GET_GENERATION, bytes(struct.calcsize("q")))
    except OSError:  # not every file system numbers its files' generations
        return ()
    about = os.fstat(descriptor)
    return (about.st_dev, about.st_ino, *struct.unpack("q", generation))


def _is_removed(folder: Path) -> bool:
    """Removes the folder if nothing is in it; whether it is gone."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
