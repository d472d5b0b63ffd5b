"""The store in a folder: what is synced before a verb returns, what a crash leaves, what a broken disk is told as."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aggregator.stores import Store, exists
from aggregator.stores.aside import aside, clear
from aggregator.stores.local import ASIDE, LocalStore, identity_of
from isthmus.errors import ConfigInvalid, StoreFull, StoreUnavailable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    """An empty store."""
    return LocalStore(root)


Trace = list[tuple[str, str]]


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch, root: Path, store: LocalStore) -> Trace:
    """What the operating system was asked, in order: ("sync", path below the root) and ("link" or "rename", key).

    Names aside are no keys.
    """
    asked: Trace = []
    real_sync, real_link, real_rename = os.fsync, os.link, os.replace

    def sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(root)
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        asked.append(("sync", "content" if is_file else str(path)))
        real_sync(descriptor)

    def link(source: str, target: str | Path) -> None:
        if Path(target).parent.name != ASIDE:
            asked.append(("link", str(Path(target).relative_to(root))))
        real_link(source, target)

    def rename(source: str, target: Path) -> None:
        asked.append(("rename", str(target.relative_to(root))))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "replace", rename)
    return asked


def put(store: Store) -> object:
    """Overwrites."""
    return store.put("a/b/c", b"content")


def create(store: Store) -> object:
    """Creates."""
    return store.put_if_absent("a/b/c", b"content")


@pytest.mark.parametrize(("verb", "name"), [(put, "rename"), (create, "link")])
def test_content_is_synced_before_its_key_and_folders_after(
    store: LocalStore, trace: Trace, verb: Callable[[Store], object], name: str
) -> None:
    """Both puts sync the content, then make the key, then sync every folder above it, and only then return."""
    verb(store)

    assert [("sync", "content"), (name, "a/b/c"), ("sync", "a/b"), ("sync", "a"), ("sync", ".")] == trace


def test_key_that_exists_is_synced_before_it_is_reported(root: Path, store: LocalStore, trace: Trace) -> None:
    """put_if_absent says False only of a key that is durable: its creator, another process, may not have synced it."""
    create(store)
    other = LocalStore(root)
    trace.clear()

    assert (False, [("sync", "a/b"), ("sync", "a"), ("sync", ".")]) == (create(other), trace)


@pytest.fixture
def above(root: Path, store: LocalStore) -> Callable[[Trace], Trace]:
    """What is synced once more of folders that are known to be durable: nothing, where folders can be told apart."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        told_apart = bool(identity_of(descriptor))
    finally:
        os.close(descriptor)
    return lambda syncs: [] if told_apart else syncs


def test_folders_above_are_synced_once(store: LocalStore, trace: Trace, above: Callable[[Trace], Trace]) -> None:
    """The second key in a folder costs the sync of that folder alone: each sync is a flush of the disk."""
    create(store)
    trace.clear()

    store.put_if_absent("a/b/d", b"")

    syncs = [("sync", "a/b"), *above([("sync", "a"), ("sync", ".")])]
    assert [("sync", "content"), ("link", "a/b/d"), *syncs] == trace


def test_folder_that_was_made_anew_is_synced_anew(store: LocalStore, trace: Trace) -> None:
    """A folder that another process removed and made again is another folder, and nobody may have synced it."""
    create(store)
    other = LocalStore(store._root)
    other.delete("a/b/c")
    (store._root / "a" / "b").mkdir(parents=True)
    trace.clear()

    store.put_if_absent("a/b/d", b"")

    assert [("sync", "a/b"), ("sync", "a"), ("sync", ".")] == trace[2:]


def test_file_on_the_same_disk_is_not_copied(tmp_path: Path, store: LocalStore, trace: Trace) -> None:
    """A file that its owner changes no more becomes the key's content as it is, synced before; nothing stays aside."""
    content = tmp_path / "store" / ASIDE / "projector"
    content.write_bytes(b"content")

    store.put("a/b/c", content)

    assert [("sync", "content"), ("rename", "a/b/c")] == trace[:2]
    assert content.stat().st_ino == (tmp_path / "store" / "a" / "b" / "c").stat().st_ino
    assert ["projector"] == os.listdir(store._root / ASIDE)


def test_file_that_the_disk_lost_is_told(tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that fails is told, and not mended by a copy: the disk tells of what it lost only once."""
    content = tmp_path / "projector"
    content.write_bytes(b"content")
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def sync(_descriptor: int) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(os, "fsync", sync)

    with pytest.raises(StoreUnavailable, match="Its disk reports errors"):
        store.put("a/b/c", content)

    assert (False, []) == (exists(store, "a/b/c"), os.listdir(store._root / ASIDE))


def test_file_on_another_disk_is_copied(tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot get a second name it is copied, synced as well."""
    content = tmp_path / "projector"
    content.write_bytes(b"content")
    real = os.link

    def link(source: object, target: object) -> None:
        if source == content:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(os, "link", link)

    assert store.put_if_absent("a/b/c", content)

    assert (b"content", b"content") == (store.get("a/b/c"), content.read_bytes())
    assert content.stat().st_ino != (store._root / "a" / "b" / "c").stat().st_ino


def test_delete_syncs_the_folder_that_stays(store: LocalStore, trace: Trace, above: Callable[[Trace], Trace]) -> None:
    """Delete removes the folders it leaves empty and syncs the one above them."""
    create(store)
    store.put_if_absent("a/x", b"")
    trace.clear()

    store.delete("a/b/c")

    assert ([("sync", "a"), *above([("sync", ".")])], ["x"]) == (trace, os.listdir(store._root / "a"))


def fail_sync(monkeypatch: pytest.MonkeyPatch, error: int, *, of: str) -> None:
    """Makes fsync of files or of folders fail."""
    real = os.fsync

    def sync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if is_folder == (of == "folder"):
            raise OSError(error, os.strerror(error))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)


@pytest.mark.parametrize("verb", [put, create])
def test_content_that_cannot_be_synced_gets_no_key(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Store], object]
) -> None:
    """When the disk fails to sync, the verb fails, the key stays as it was, and nothing is left aside."""
    fail_sync(monkeypatch, errno.EIO, of="file")

    with pytest.raises(StoreUnavailable, match=r"a/b/c .*check the disk"):
        verb(store)

    assert (False, []) == (exists(store, "a/b/c"), os.listdir(store._root / ASIDE))


@pytest.mark.parametrize("verb", [put, create])
def test_folder_that_cannot_be_synced_is_no_success(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Store], object]
) -> None:
    """When the folder cannot be synced the verb fails, and also for whoever repeats it before the disk is mended."""
    fail_sync(monkeypatch, errno.EIO, of="folder")

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            verb(store)


@pytest.mark.parametrize(
    ("error", "advice"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-write"), (errno.EACCES, "rights")],
)
def test_trouble_is_told_with_what_to_do(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, error: int, advice: str
) -> None:
    """What the operating system refuses is told with the folder, the key and the remedy; want of room as that."""
    fail_sync(monkeypatch, error, of="file")
    told = StoreFull if error in (errno.ENOSPC, errno.EDQUOT) else StoreUnavailable

    with pytest.raises(told, match=advice) as caught:
        create(store)

    assert str(store._root) in str(caught.value)
    assert "a/b/c" in str(caught.value)


def test_torn_file_of_a_dead_process_is_neither_seen_nor_kept(store: LocalStore, root: Path) -> None:
    """Half-written files are in no listing, and opening the store removes them."""
    torn = root / ASIDE / "aside-1234-dead"
    torn.write_bytes(b"half")

    before = list(store.list(""))
    LocalStore(root)

    assert ([], []) == (before, os.listdir(root / ASIDE))


def test_clearing_spares_the_living(tmp_path: Path) -> None:
    """Clear removes unlocked files of the kind alone: neither those being written nor files of anyone else."""
    (tmp_path / "aside-1-dead").touch()
    (tmp_path / "somebody-else").touch()
    with aside(tmp_path) as file:
        removed = clear(tmp_path)
        left = sorted(os.listdir(tmp_path))

        assert (1, sorted([Path(file.name).name, "somebody-else"])) == (removed, left)
    assert ["somebody-else"] == os.listdir(tmp_path)


def test_vanished_folder_is_not_an_empty_store(store: LocalStore, root: Path) -> None:
    """When the folder is gone (its disk is not mounted), no verb answers as if nothing had ever been stored."""
    create(store)
    root.rename(root.with_name("elsewhere"))
    root.mkdir()

    verbs: list[Callable[[], object]] = [
        lambda: store.get("a/b/c"),
        lambda: list(store.list("a")),
        lambda: put(store),
        lambda: create(store),
        lambda: store.delete("a/b/c"),
    ]
    for verb in verbs:
        with pytest.raises(StoreUnavailable, match="Mount its disk"):
            verb()

    assert [] == os.listdir(root)


def test_disk_that_goes_away_under_a_put_is_not_replaced(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put whose disk goes away after it looked for it makes no folder in its place, and says that it is gone."""
    real, looks = LocalStore._require_root, iter((True,))

    def goes_away_after_the_first_look(self: LocalStore) -> None:
        real(self)
        if next(looks, False):
            root.rename(root.with_name("away"))

    monkeypatch.setattr(LocalStore, "_require_root", goes_away_after_the_first_look)

    with pytest.raises(StoreUnavailable, match="is gone"):
        store.put_if_absent("a/b/c", b"content")
    assert not root.exists()


def test_folder_must_be_where_it_can_be_made(tmp_path: Path) -> None:
    """A store is made in a folder that exists; a path that leads nowhere is a mistake, not a wish."""
    with pytest.raises(ConfigInvalid, match=r"no folder .*nowhere"):
        LocalStore(tmp_path / "nowhere" / "store")

    assert [] == os.listdir(tmp_path)


def test_file_is_no_store(tmp_path: Path) -> None:
    """A path to a file is refused."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigInvalid, match="cannot be used"):
        LocalStore(tmp_path / "file")


def test_stores_of_one_folder_see_the_same(store: LocalStore, root: Path) -> None:
    """Two stores over one folder are one store."""
    other = LocalStore(root)

    assert (True, False, b"content") == (create(store), create(other), other.get("a/b/c"))
