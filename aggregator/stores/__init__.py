"""Stores by the scheme of their URL. A new one is one file and one line here; the store contract's tests find it."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from aggregator.stores.contract import Content, Entry, Store, exists, require_key
from aggregator.stores.local import LocalStore
from aggregator.stores.memory import MemoryStore
from aggregator.stores.objects import open_bucket
from isthmus.errors import ConfigInvalid

__all__ = ["STORES", "Content", "Entry", "Store", "exists", "open_store", "open_to_read", "require_key"]


def open_store(url: str) -> Store:
    """The store that this URL names.

    Args:
        url: A folder ("/srv/isthmus", "state", "file:///srv/isthmus"), "memory:", or a bucket ("s3://bucket/prefix",
            "gs://bucket/prefix", "az://account/container/prefix"). A bucket's credentials come from the environment
            as for its vendor's own tools; "?endpoint=...&region=..." names another S3 server than Amazon's.

    Raises:
        ConfigInvalid: The URL names no store, or one that cannot be used.
    """
    parts = urlsplit(url)
    if not url.strip() or parts.scheme not in STORES:
        raise ConfigInvalid(
            f"{url!r} names no store. Give a folder, or a URL that begins with s3:, gs:, az: or memory:."
        )
    return STORES[parts.scheme](parts)


def open_to_read(url: str) -> Store:
    """The store that this URL names, for `get` and `list` alone: nothing is made in a folder, not even aside.

    Raises:
        ConfigInvalid: As `open_store`.
    """
    folder = folder_of(url)
    return open_store(url) if folder is None else LocalStore(folder, read_only=True)


def folder_of(url: str) -> Path | None:
    """The folder that a store's URL names; None where it names no folder."""
    parts = urlsplit(url)
    if not url.strip() or parts.scheme not in ("", "file"):
        return None
    return _folder(parts)


def _folder(url: SplitResult) -> Path:
    return Path(unquote(url.path) if url.scheme else url.path)


def _open_local(url: SplitResult) -> Store:
    if url.netloc not in ("", "localhost") or url.query or url.fragment:
        raise ConfigInvalid(f"{url.geturl()!r} names no folder. A folder's URL is file:///, then its path.")
    return LocalStore(_folder(url))


def _open_memory(url: SplitResult) -> Store:
    if url.netloc or url.path or url.query:
        raise ConfigInvalid(f"The store in memory is memory: and no more, not {url.geturl()!r}.")
    return MemoryStore()


STORES: dict[str, Callable[[SplitResult], Store]] = {
    "": _open_local,
    "file": _open_local,
    "memory": _open_memory,
    "s3": open_bucket,
    "gs": open_bucket,
    "az": open_bucket,
}
"""What opens a store, by the scheme of its URL."""
