"""Opening a store by its URL."""

from pathlib import Path

import pytest

from aggregator.stores import open_store
from aggregator.stores.local import LocalStore
from aggregator.stores.memory import MemoryStore
from aggregator.stores.objects import BucketStore
from isthmus.errors import ConfigInvalid


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_folder_is_a_local_store(tmp_path: Path, form: str) -> None:
    """A path and a file URL both open the folder, spaces and all."""
    folder = tmp_path / "the store"
    url = form.format(folder if form == "{}" else str(folder).replace(" ", "%20"))

    store = open_store(url)

    assert (LocalStore, True) == (type(store), folder.is_dir())


def test_relative_path_is_a_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a folder below the current one."""
    monkeypatch.chdir(tmp_path)

    open_store("state")

    assert (tmp_path / "state").is_dir()


def test_memory_is_a_store() -> None:
    """memory: opens an empty store of its own each time."""
    stores = [open_store("memory:"), open_store("memory:")]
    stores[0].put("a", b"")

    assert ([MemoryStore] * 2, []) == ([type(store) for store in stores], list(stores[1].list("")))


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://bucket/prefix?endpoint=http://127.0.0.1:1&region=eu-north-1", "gs://bucket/prefix"],
)
def test_bucket_is_opened_without_a_call(url: str) -> None:
    """A bucket's URL opens a store without anything being asked of the network."""
    assert BucketStore is type(open_store(url))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "names no store"),
        ("ftp://host/x", "names no store"),
        ("postgres://host/x", "names no store"),
        ("file://host/x", "names no folder"),
        ("memory:x", "memory"),
        ("s3:///prefix", "s3://bucket/prefix"),
        ("s3://bucket?foo=1", "foo is unknown"),
        ("gs://bucket?endpoint=x", "endpoint is unknown"),
        ("az://account", "Account"),
    ],
)
def test_url_that_names_no_store_is_refused(url: str, said: str) -> None:
    """A wrong URL is told with what is wrong and what is right."""
    with pytest.raises(ConfigInvalid, match=said):
        open_store(url)


def test_credentials_have_no_place_in_a_url() -> None:
    """A URL with credentials is refused, and the refusal does not repeat them."""
    with pytest.raises(ConfigInvalid) as caught:
        open_store("s3://key:hush@bucket/prefix")

    assert "hush" not in str(caught.value)
