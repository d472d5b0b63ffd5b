"""What a disk may hold after the power went: every state that the synced writes of a recorded run allow.

The model promises what POSIX does and no more. A file's content is safe once the file was synced; until then a part of
it may be there. A name in a folder is safe once that folder was synced; until then each change of a name may have
happened or not, whatever happened to the others.
"""

import os
import random
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from aggregator.stores import Content, Entry, Store
from aggregator.stores.local import ASIDE

Image = dict[str, bytes]
"""A disk after the power went: content by key."""


@dataclass(frozen=True)
class File:
    """A file that a name stands for; `synced` is None where nothing of it is safe."""

    written: bytes
    synced: bytes | None

    @property
    def contents(self) -> tuple[bytes, ...]:
        """What may be found in it."""
        half = self.written[: len(self.written) // 2]
        return (self.synced,) if self.synced is not None else (b"", half, self.written)


class Change(NamedTuple):
    """A folder's name now stands for a file, for a folder (by its number), or for nothing."""

    folder: int
    name: str
    stands_for: File | int | None


class FolderSynced(NamedTuple):
    """All changes of the folder's names up to here are safe."""

    folder: int


class Begun(NamedTuple):
    """A verb that writes or deletes began."""

    key: str
    content: bytes | None


class Promised(NamedTuple):
    """A verb returned: the key holds this from now on, also without power."""

    key: str
    content: bytes


Event = Change | FolderSynced | Begun | Promised


@dataclass
class Recorder:
    """Writes down what is asked of the operating system below a folder.

    Attributes:
        root: The store's folder; it and its own folder for files aside are there and safe.
        deaf_to: "files" or "folders": syncs that are not heard, as if the code did not call them.
        events: What happened, in order.
    """

    root: Path
    deaf_to: str = ""
    events: list[Event] = field(default_factory=list)
    _folders: dict[str, int] = field(default_factory=lambda: {"": 0})
    _synced: dict[int, bytes] = field(default_factory=dict)

    def fsync(self, descriptor: int) -> None:
        """A file or folder is synced."""
        status = os.fstat(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if stat.S_ISDIR(status.st_mode):
            folder = self._folders.get(self._key(path))
            if folder is not None and self.deaf_to != "folders":
                self.events.append(FolderSynced(folder))
        elif self.deaf_to != "files":
            self._synced[status.st_ino] = path.read_bytes()

    def placed(self, source: str, path: str | Path) -> None:
        """A file got a name: by a link, or in place of another file."""
        found = File(written=Path(path).read_bytes(), synced=self._synced.get(os.stat(path).st_ino))
        self._change(Path(path), found)

    def mkdir(self, path: str | Path) -> None:
        """A folder was made."""
        number = len(self.events) + 1
        if self._change(Path(path), number):
            self._folders[self._key(Path(path))] = number

    def removed(self, path: str | Path) -> None:
        """A file or folder lost its name."""
        self._change(Path(path), None)

    def forget(self, path: str | Path) -> None:
        """A file is about to lose its last name: its number may be another's soon."""
        status = os.lstat(path)
        if status.st_nlink == 1:
            self._synced.pop(status.st_ino, None)

    def _key(self, path: Path) -> str:
        key = os.path.relpath(path, self.root)
        return "" if key == "." else key

    def _change(self, path: Path, stands_for: File | int | None) -> bool:
        folder = self._folders.get(self._key(path.parent))
        ours = folder is not None and path.name != ASIDE and path.parent.name != ASIDE
        if ours and folder is not None:
            self.events.append(Change(folder, path.name, stands_for))
        return ours


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Writes down what this process asks of the operating system, until the end."""
    real = {name: getattr(os, name) for name in ("fsync", "link", "replace", "mkdir", "rmdir", "unlink")}

    def told(name: str, after: Callable[..., None], before: Callable[..., None] | None = None) -> None:
        def call(*arguments: object, **options: object) -> object:
            if before:
                before(*arguments)
            result = real[name](*arguments, **options)
            after(*arguments)
            return result

        setattr(os, name, call)

    told("fsync", recorder.fsync)
    told("link", recorder.placed)
    told("replace", recorder.placed)
    told("mkdir", lambda path, *_: recorder.mkdir(path))
    told("rmdir", recorder.removed)
    told("unlink", recorder.removed, recorder.forget)
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


@dataclass
class Promising:
    """A store that writes down what its verbs promised."""

    store: Store
    events: list[Event]

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """See Store."""
        return self.store.get(key, start=start, size=size)

    def put(self, key: str, content: Content) -> None:
        """See Store."""
        data = content.read_bytes() if isinstance(content, Path) else content
        self.events.append(Begun(key, data))
        self.store.put(key, content)
        self.events.append(Promised(key, data))

    def put_if_absent(self, key: str, content: Content) -> bool:
        """See Store."""
        data = content.read_bytes() if isinstance(content, Path) else content
        self.events.append(Begun(key, data))
        created = self.store.put_if_absent(key, content)
        self.events.append(Promised(key, self.store.get(key)))
        return created

    def list(self, prefix: str) -> Iterator[Entry]:
        """See Store."""
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        """See Store."""
        self.events.append(Begun(key, None))
        self.store.delete(key)


@dataclass
class Disk:
    """The disk while a recording is played back: what is safe, and which changes of names are not yet."""

    safe: dict[int, dict[str, File | int]] = field(default_factory=lambda: {0: {}})
    unsafe: list[Change] = field(default_factory=list)

    def play(self, event: Event) -> None:
        """One event further."""
        match event:
            case Change():
                self.unsafe.append(event)
            case FolderSynced(folder):
                self.safe[folder] = _after(self.safe.get(folder, {}), [one for one in self.unsafe if one[0] == folder])
                self.unsafe = [one for one in self.unsafe if one.folder != folder]

    def images(self, dice: random.Random, *, most: int) -> Iterator[Image]:
        """States that the disk may be found in: nothing more than what is safe, all of it, and others, at random."""
        every = range(len(self.unsafe))
        kept: list[Iterable[int]] = [(), every]
        kept += [{number} for number in every] + [set(every) - {number} for number in every]
        kept += [dice.sample(every, dice.randint(0, len(every))) for _ in range(most)]
        for numbers in kept[:2] + dice.sample(kept[2:], min(most, len(kept) - 2)):
            changes = [change for number, change in enumerate(self.unsafe) if number in set(numbers)]
            folders = {
                folder: _after(self.safe.get(folder, {}), [one for one in changes if one.folder == folder])
                for folder in {*self.safe, *(change.folder for change in changes)}
            }
            yield dict(_found(folders, dice))


def keeps_every_promise(events: list[Event], *, dice: random.Random, most: int) -> Iterator[tuple[int, Image, str]]:
    """Cuts the power after each event; each state of the disk, with what is wrong with it (empty: nothing)."""
    disk, promised, written = Disk(), dict[str, set[bytes | None]](), dict[str, set[bytes]]()
    for number, event in enumerate(events):
        disk.play(event)
        if isinstance(event, Begun):
            promised.get(event.key, set()).add(event.content)
            if event.content is not None:
                written.setdefault(event.key, set()).add(event.content)
        elif isinstance(event, Promised):
            promised[event.key] = {event.content}
        for image in disk.images(dice, most=most):
            lost = [key for key, contents in promised.items() if image.get(key) not in contents]
            torn = [key for key, content in image.items() if content not in written.get(key, ())]
            yield number, image, " and ".join(filter(None, [lost and f"lost {lost}", torn and f"torn {torn}"]))


def _after(names: dict[str, File | int], changes: Iterable[Change]) -> dict[str, File | int]:
    names = dict(names)
    for change in changes:
        if change.stands_for is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.stands_for
    return names


def _found(folders: dict[int, dict[str, File | int]], dice: random.Random) -> Iterator[tuple[str, bytes]]:
    walk: list[tuple[str, int]] = [("", 0)]
    while walk:
        path, number = walk.pop()
        for name, stands_for in folders.get(number, {}).items():
            if isinstance(stands_for, File):
                yield f"{path}{name}", dice.choice(stands_for.contents)
            else:
                walk.append((f"{path}{name}/", stands_for))


def different(found: Iterable[tuple[int, Image, str]]) -> list[Image]:
    """The states of the disk that were found, each once, in the order in which they came."""
    return list({frozenset(image.items()): image for _, image, _ in found}.values())
