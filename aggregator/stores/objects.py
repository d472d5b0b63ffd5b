"""The store in a bucket (S3 and what speaks it, Google Cloud Storage, Azure), through obstore.

Create-only is the bucket's own conditional put (If-None-Match). Credentials never stand in a URL: they come from the
environment, as for the vendor's own tools.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, parse_qsl, urlunsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore

from aggregator.stores.contract import Content, Entry, require_key
from isthmus.errors import ConfigInvalid, StoreFull, StoreUnavailable

if TYPE_CHECKING:  # obstore has these names for type checkers only
    from obstore import OffsetRange
    from obstore.store import ClientConfig, RetryConfig, S3Config

OPTIONS: dict[str, tuple[str, ...]] = {
    "s3": ("endpoint", "region", "virtual_hosted_style_request"),
    "gs": (),
    "az": ("endpoint",),
}
"""What may stand behind the "?" of a bucket's URL, by its scheme."""

_RETRY: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}
_CLIENT: "ClientConfig" = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_RETRY_SECONDS = 2.0
_MAX_CREATE_TRIES = 8

_FULL = re.compile(r"QuotaExceeded|StorageFull|InsufficientStorage|507 Insufficient Storage")
"""What servers say that have no room: Ceph and MinIO by these codes, others by the status 507. Nothing but the text
tells it."""


class BucketStore:
    """The five verbs over an obstore store; see `aggregator.stores.Store`. Safe to use from many threads.

    A `put` of a file is streamed in parts; a `put_if_absent` of one is read into memory, as buckets have no
    conditional put in parts everywhere.
    """

    def __init__(self, bucket: ObjectStore, *, name: str) -> None:
        self._bucket = bucket
        self._name = name

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """The bytes of `key` from `start`, at most `size` of them."""
        require_key(key)
        with self._told(key):
            try:
                if start == 0 and size is None:
                    return bytes(obstore.get(self._bucket, key).bytes())
                return self._get_range(key, start=start, size=size)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):  # nothing but the text tells it from a missing key
                    raise
                raise KeyError(key) from None

    def put(self, key: str, content: Content) -> None:
        """Makes `key` hold `content`."""
        require_key(key)
        with self._told(key):
            obstore.put(self._bucket, key, content)

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Makes `key` hold `content` unless it exists; True when this call created it.

        It may say False of a key that this very call created, when the bucket's answer was lost and the repeat found
        the key there: whoever asks must read what stands, and finds its own content.
        """
        require_key(key)
        with self._told(key):
            for _ in range(_MAX_CREATE_TRIES):
                try:
                    obstore.put(self._bucket, key, content, mode="create")
                except AlreadyExistsError:
                    # S3 also answers "conflict" while a racing put is under way that may yet fail.
                    if self._is_there(key):
                        return False
                else:
                    return True
        raise StoreUnavailable(f"Bucket {self._name} did not say who created {key}. Try again.")

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every key under `prefix`, sorted."""
        if prefix:
            require_key(prefix)
        with self._told(prefix):
            pages = obstore.list(self._bucket, f"{prefix}/" if prefix else None)
            return iter(sorted(Entry(str(item["path"]), int(item["size"])) for page in pages for item in page))

    def delete(self, key: str) -> None:
        """Removes `key` if it exists."""
        require_key(key)
        with self._told(key):
            try:
                obstore.delete(self._bucket, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise

    def _get_range(self, key: str, *, start: int, size: int | None) -> bytes:
        if size == 0:  # no bucket has a word for a range of nothing
            obstore.head(self._bucket, key)
            return b""
        wanted: OffsetRange | tuple[int, int] = {"offset": start} if size is None else (start, start + size)
        try:
            return bytes(obstore.get(self._bucket, key, options={"range": wanted}).bytes())
        except BaseError:
            # A range that begins at or beyond the end is an error to a bucket, and nothing to read to us.
            if start < int(obstore.head(self._bucket, key)["size"]):
                raise
            return b""

    def _is_there(self, key: str) -> bool:
        try:
            obstore.head(self._bucket, key)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turns what the bucket says into an error that tells what to do."""
        try:
            yield
        except FileNotFoundError as error:
            raise self._unavailable(key, error, "Create the bucket, or correct its name.") from error
        except BaseError as error:
            raise self._failure(key, error) from error

    def _failure(self, key: str, error: BaseError) -> StoreFull | StoreUnavailable:
        if _FULL.search(str(error)):
            return StoreFull(
                f"Bucket {self._name} is full, at {key} ({_said(error)}). Make room in it, or raise its quota.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return self._unavailable(key, error, "Check the credentials in the aggregator's environment.")
        return self._unavailable(key, error, "Check that it exists, may be used and is not full.")

    def _unavailable(self, key: str, error: Exception, advice: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"Bucket {self._name} failed at {key} ({_said(error)}). {advice}", retry_after_seconds=_RETRY_SECONDS
        )


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def open_bucket(url: SplitResult) -> BucketStore:
    """The bucket that a URL names; it is not called before the first verb is.

    Raises:
        ConfigInvalid: The URL names no bucket, holds credentials, or has an option that its scheme has not.
    """
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(OPTIONS[url.scheme]))
    shown = f"{url.scheme}://{url.hostname or ''}{url.path}"
    if unknown or url.username or url.password or not url.netloc:
        accepted = ", ".join(OPTIONS[url.scheme]) or "none"
        raise ConfigInvalid(
            f"The store's URL {shown} is wrong{''.join(f', option {name} is unknown' for name in unknown)}. Write "
            f"{url.scheme}://bucket/prefix, options behind ? (accepted: {accepted}), credentials in the environment."
        )
    plain = options.get("endpoint", "").startswith("http://")
    try:
        bucket = obstore.store.from_url(
            urlunsplit((url.scheme, url.netloc, url.path, "", "")),
            config=cast("S3Config | None", options or None),  # the other vendors' options are among those of S3
            client_options={**_CLIENT, "allow_http": True} if plain else _CLIENT,
            retry_config=_RETRY,
        )
    except (BaseError, ValueError) as error:
        raise ConfigInvalid(f"The store's URL {shown} cannot be used ({_said(error)}). Correct it.") from error
    return BucketStore(bucket, name=shown)
