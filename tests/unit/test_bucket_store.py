"""A bucket that answers in unhappy ways: a small S3 server on loopback that does what each test tells it to."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aggregator.stores import Store, open_store
from isthmus.errors import StoreFull, StoreUnavailable

NO_BUCKET = b'<?xml version="1.0"?><Error><Code>NoSuchBucket</Code></Error>'
NO_KEY = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'
LOST = 0
"""As an answer: the request takes effect and the connection breaks before anything is said."""

Answer = tuple[int, bytes]


class Bucket(ThreadingHTTPServer):
    """Holds objects by path; each request takes the next scripted answer, or behaves once there is none left."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.script: list[Answer] = []
        self.forever: Answer | None = None


class Handler(BaseHTTPRequestHandler):
    """One request to the bucket."""

    protocol_version = "HTTP/1.1"
    server: Bucket

    def do_PUT(self) -> None:
        """Creates an object unless it is there."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        scripted = self._scripted()
        if scripted and scripted[0] != LOST:
            self._answer(*scripted)
            return
        is_there = self.path in self.server.objects and self.headers.get("If-None-Match") == "*"
        if not is_there:
            self.server.objects[self.path] = content
        if scripted:
            self.close_connection = True
        else:
            self._answer(412 if is_there else 200)

    def do_GET(self) -> None:
        """Gives an object."""
        scripted = self._scripted()
        content = self.server.objects.get(self.path)
        self._answer(*(scripted or ((404, NO_KEY) if content is None else (200, content))))

    def do_HEAD(self) -> None:
        """Says whether there is an object."""
        self._answer(200 if self.path in self.server.objects else 404)

    def log_message(self, *_: object) -> None:
        """Says nothing: the answers are what the tests look at."""

    def _scripted(self) -> Answer | None:
        return self.server.script.pop(0) if self.server.script else self.server.forever

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"tag"')
        self.send_header("Last-Modified", "Sun, 01 Mar 2026 12:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """An empty bucket that behaves."""
    with Bucket() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store over it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    return open_store(f"s3://bucket/prefix?endpoint=http://127.0.0.1:{bucket.server_port}")


def test_bucket_that_behaves_creates_once(store: Store) -> None:
    """Create-only is the bucket's own: the second put of a key is told that it is there."""
    assert (True, False, b"first") == (
        store.put_if_absent("a/b", b"first"),
        store.put_if_absent("a/b", b"second"),
        store.get("a/b"),
    )


def test_conflict_is_not_taken_for_existence(store: Store, bucket: Bucket) -> None:
    """S3 may answer 409 while a racing put is under way that fails in the end: the key is tried again."""
    bucket.script = [(409, b"")] * 2

    assert (True, b"content") == (store.put_if_absent("a/b", b"content"), store.get("a/b"))


def test_lost_answer_leaves_our_own_content(store: Store, bucket: Bucket) -> None:
    """When the answer to a create is lost its repeat may say False, and what stands is what we put."""
    bucket.script = [(LOST, b"")]

    store.put_if_absent("a/b", b"content")

    assert b"content" == store.get("a/b")


def test_passing_trouble_passes(store: Store, bucket: Bucket) -> None:
    """A bucket that is busy for a moment is asked again, and nobody hears of it."""
    bucket.script = [(503, b""), (500, b"")]

    assert (True, b"content") == (store.put_if_absent("a/b", b"content"), store.get("a/b"))


@pytest.mark.parametrize(
    ("answer", "advice"),
    [((503, b""), "not full"), ((403, b""), "credentials"), ((404, NO_BUCKET), "Create the bucket")],
)
def test_lasting_trouble_is_told(store: Store, bucket: Bucket, answer: Answer, advice: str) -> None:
    """A bucket that is down, closed to us or not there is told as that by get and by put, without any secret."""
    bucket.forever = answer

    for verb in (lambda: store.get("a/b"), lambda: store.put_if_absent("a/b", b"")):
        with pytest.raises(StoreUnavailable, match=advice) as caught:
            verb()

        assert ("hush" in str(caught.value), "s3://bucket/prefix" in str(caught.value)) == (False, True)


def test_missing_key_is_not_a_missing_bucket(store: Store) -> None:
    """A key that is not there is a KeyError."""
    with pytest.raises(KeyError):
        store.get("a/b")


def coded(code: str) -> bytes:
    """The body of an error of this code."""
    return f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode()


@pytest.mark.parametrize(
    "answer",
    [
        (507, coded("XMinioStorageFull")),
        (507, b""),
        (403, coded("QuotaExceeded")),
        (400, coded("XMinioAdminBucketQuotaExceeded")),
    ],
)
def test_full_bucket_is_told_as_that(store: Store, bucket: Bucket, answer: Answer) -> None:
    """What servers say whose disk or quota is used up is told as a full store, whatever status it comes with."""
    bucket.forever = answer

    with pytest.raises(StoreFull, match=r"s3://bucket/prefix is full.* raise its quota"):
        store.put_if_absent("a/b", b"content")
