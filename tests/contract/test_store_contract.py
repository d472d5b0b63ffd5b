"""The store's contract, one test for each of its numbers, against every store.

A real bucket takes part when ISTHMUS_TEST_S3_URL names one ("s3://bucket?endpoint=http://...") and the standard AWS
variables hold its credentials.
"""

import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest

from aggregator.metrics.meters import Meters
from aggregator.metrics.timed_store import TimedStore
from aggregator.stores import Entry, Store, exists, open_store
from aggregator.stores.objects import BucketStore
from isthmus.errors import InvariantBroken

S3_URL = os.environ.get("ISTHMUS_TEST_S3_URL", "")
LARGE = 11 * 1024 * 1024 + 1
"""Above what a bucket takes in one part."""


def open_local(folder: Path) -> Store:
    """A store in a folder."""
    return open_store(str(folder / "store"))


def open_memory(_: Path) -> Store:
    """A store in memory."""
    return open_store("memory:")


def open_bucket_in_memory(_: Path) -> Store:
    """The bucket's code over obstore's own memory."""
    return BucketStore(obstore.store.MemoryStore(), name="memory")


def open_s3(_: Path) -> Store:
    """A real bucket, under a prefix that no other test uses."""
    where, _, options = S3_URL.partition("?")
    return open_store(f"{where.rstrip('/')}/{uuid.uuid4().hex}?{options}")


def open_timed(_: Path) -> Store:
    """A store as a replica has it whose metrics are on."""
    return TimedStore(open_store("memory:"), Meters())


STORES: dict[str, Callable[[Path], Store]] = {
    "local": open_local,
    "memory": open_memory,
    "bucket in memory": open_bucket_in_memory,
    "timed": open_timed,
} | ({"s3": open_s3} if S3_URL else {})


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store, empty."""
    return STORES[request.param](tmp_path)


@pytest.mark.parametrize(
    ("start", "size", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 4, b"0123"),
        (3, 4, b"3456"),
        (3, None, b"3456789"),
        (7, 100, b"789"),
        (9, 1, b"9"),
        (10, 1, b""),
        (10, None, b""),
        (99, 5, b""),
        (4, 0, b""),
        (99, 0, b""),
    ],
)
def test_get_gives_the_range_that_is_there(store: Store, start: int, size: int | None, expected: bytes) -> None:
    """1: get gives the bytes of a range, and of one beyond the end what is there."""
    store.put("a/b", b"0123456789")

    assert expected == store.get("a/b", start=start, size=size)


def test_get_of_nothing_gives_nothing(store: Store) -> None:
    """1: an empty value is a value."""
    store.put("a/empty", b"")

    assert (b"", b"", b"", True) == (
        store.get("a/empty"),
        store.get("a/empty", size=5),
        store.get("a/empty", start=3),
        exists(store, "a/empty"),
    )


@pytest.mark.parametrize("key", ["missing", "a", "a/missing", "a/b/missing", "a/bc"])
def test_get_of_a_missing_key_raises_keyerror(store: Store, key: str) -> None:
    """2: a key that was never put is a KeyError, also where it is a folder of keys or lies below one."""
    store.put("a/b", b"content")

    with pytest.raises(KeyError):
        store.get(key)
    with pytest.raises(KeyError):
        store.get(key, start=0, size=1)
    with pytest.raises(KeyError):
        store.get(key, start=1, size=0)

    assert not exists(store, key)


def test_put_replaces_whole_contents(store: Store) -> None:
    """3: a reader that races with overwrites sees one content or the other, never a mix."""
    contents = [bytes([letter]) * 50_000 for letter in b"ab"]
    store.put("a/b", contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(10):
            store.put("a/b", contents[turn % 2])
        done.set()

    seen = set()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set() and not writing.done():
            seen.add(store.get("a/b"))
        writing.result()

    assert seen <= set(contents)


def test_put_if_absent_has_one_winner(store: Store) -> None:
    """4: of racing calls exactly one creates the key, and its content stands."""
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return store.put_if_absent("a/b", bytes([number]) * 1000)

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(8)))

        assert (1, bytes([won.index(True)]) * 1000) == (won.count(True), store.get("a/b"))
        store.delete("a/b")


def test_put_if_absent_changes_nothing_that_is_there(store: Store) -> None:
    """4: a key that exists keeps its content, whichever verb made it."""
    store.put("a/put", b"first")
    created = store.put_if_absent("a/created", b"first")

    assert (True, False, False) == (
        created,
        store.put_if_absent("a/put", b"second"),
        store.put_if_absent("a/created", b"second"),
    )
    assert (b"first", b"first") == (store.get("a/put"), store.get("a/created"))


def test_put_if_absent_of_the_same_object_twice_creates_once(store: Store) -> None:
    """4: the very bytes that stand are not created again either."""
    content = b"the same object"

    assert [True, False] == [store.put_if_absent("a/b", content), store.put_if_absent("a/b", content)]


def test_list_matches_whole_parts_sorted(store: Store) -> None:
    """5: list gives the keys under a prefix of whole parts, sorted as text, with their sizes."""
    for key in ("a/b/c", "a/b/10", "a/b/9", "a/b/d/e", "a/bc", "a-b", "a.b/x", "b"):
        store.put(key, key.encode())

    expected = [Entry(key, len(key)) for key in ("a/b/10", "a/b/9", "a/b/c", "a/b/d/e")]
    assert (expected, [], [], []) == (
        list(store.list("a/b")),
        list(store.list("a/b/c")),
        list(store.list("a/b/zzz")),
        list(store.list("nothing")),
    )
    everything = [entry.key for entry in store.list("")]
    assert sorted(["a-b", "a.b/x", "a/b/10", "a/b/9", "a/b/c", "a/b/d/e", "a/bc", "b"]) == everything


def test_list_has_what_was_put_before(store: Store) -> None:
    """5: every put that returned before a listing began is in it, while others go on putting and deleting."""
    returned: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        for number in range(15):
            key = f"a/{writer}/{number}"
            store.put_if_absent(key, b"x")
            returned.append(key)
            store.put(f"a/noise{writer}/x", b"")
            store.delete(f"a/noise{writer}/x")

    def look() -> list[set[str]]:
        missed = []
        while not stop.is_set():
            before = set(returned)
            missed.append(before - {entry.key for entry in store.list("a")})
        return missed

    with ThreadPoolExecutor(4) as pool:
        looking = pool.submit(look)
        for writing in [pool.submit(write, writer) for writer in range(3)]:
            writing.result()
        stop.set()

        assert set().union(*looking.result()) == set()
    assert sorted(returned) == [entry.key for entry in store.list("a")]


def test_delete_removes_the_key_alone(store: Store) -> None:
    """6: a deleted key is gone, its neighbours stay, deleting it again is no error, and it can be created again."""
    store.put("a/b", b"1")
    store.put("a/c", b"2")

    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/there")

    assert ([Entry("a/c", 1)], True, b"again") == (
        list(store.list("a")),
        store.put_if_absent("a/b", b"again"),
        store.get("a/b"),
    )


def test_folders_come_and_go(store: Store) -> None:
    """6: creating and deleting keys of one folder at the same time loses none of those that stay."""

    def churn(writer: int) -> bool:
        for turn in range(10):
            store.put_if_absent(f"a/b/{writer}-{turn}", b"x")
            store.delete(f"a/b/{writer}-{turn}")
        return store.put_if_absent(f"a/b/{writer}", b"x")

    with ThreadPoolExecutor(4) as pool:
        assert [True] * 4 == list(pool.map(churn, range(4)))
    assert [f"a/b/{writer}" for writer in range(4)] == [entry.key for entry in store.list("")]


@pytest.mark.parametrize("size", [0, 5, LARGE])
def test_content_may_be_a_file(store: Store, tmp_path: Path, size: int) -> None:
    """3, 4: both puts take a file, of any size, and leave it where it is."""
    file = tmp_path / "content"
    file.write_bytes(os.urandom(size))

    store.put("a/put", file)
    created = store.put_if_absent("a/created", file)

    assert (True, [Entry("a/created", size), Entry("a/put", size)]) == (created, list(store.list("a")))
    assert store.get("a/put") == store.get("a/created") == file.read_bytes()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "a b",
        "a\n",
        "a\\b",
        "a\x00",
        "~aside/x",
        "\u00e9",
        "a" * 256,
    ],
)
def test_key_that_is_none_is_refused(store: Store, key: str) -> None:
    """8: a key with a bad part reaches no backend, by whichever verb."""
    verbs = [store.get, store.delete, lambda k: store.put(k, b""), lambda k: store.put_if_absent(k, b"")]
    for verb in [*verbs, *([store.list] if key else [])]:
        with pytest.raises(InvariantBroken):
            verb(key)

    assert [] == list(store.list(""))


@pytest.mark.parametrize("key", ["a", "...", ".a", "a..b", "-", "A_b.C-9", "x" * 255])
def test_odd_keys_are_keys(store: Store, key: str) -> None:
    """8: parts of the allowed letters are taken as they are."""
    store.put(f"{key}/{key}", b"content")

    assert [Entry(f"{key}/{key}", 7)] == list(store.list(key))
