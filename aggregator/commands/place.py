"""The store that a command line names, for commands that need no aggregator."""

import os
from argparse import Namespace
from pathlib import PurePath, PurePosixPath
from urllib.parse import urlsplit

from aggregator.config import load_config
from aggregator.stores import Store, folder_of, open_store, open_to_read
from isthmus.errors import ConfigInvalid


def store_of(arguments: Namespace, *, read_only: bool = True) -> Store:
    """The store of --store, or of the aggregator's settings that --config names.

    Raises:
        ConfigInvalid: It names no store, or a folder that is not there.
    """
    return open_existing(url_of(arguments), read_only=read_only)


def url_of(arguments: Namespace) -> str:
    """The URL of that store."""
    if arguments.store is not None:
        return str(arguments.store)
    return load_config(arguments.config, environment=os.environ).store


def open_existing(url: str, *, read_only: bool = True) -> Store:
    """The store of this URL; to read it, nothing is written there.

    Raises:
        ConfigInvalid: It names no store, or a folder that is not there: a misspelt one must not be made.
    """
    folder = folder_of(url)
    if folder is not None and not folder.is_dir():
        raise ConfigInvalid(f"There is no folder {folder}. Name the folder that holds the store.")
    return open_to_read(url) if read_only else open_store(url)


def require_apart(source_url: str, destination_url: str) -> None:
    """Checks that a copy from one store to the other is a second one, and one that lasts.

    Raises:
        ConfigInvalid: They are one store, one lies inside the other, or one is this process's memory.
    """
    for url in (source_url, destination_url):
        if urlsplit(url).scheme == "memory":
            raise ConfigInvalid(
                f"{url} ends with this command, so no copy comes from or goes there. Name another place."
            )
    source, destination = _root_of(source_url), _root_of(destination_url)
    if source.is_relative_to(destination) or destination.is_relative_to(source):
        raise ConfigInvalid(
            f"{source_url} and {destination_url} are one place, or one lies inside the other: that would be no second "
            "copy. Name a place outside of the store."
        )


def _root_of(url: str) -> PurePath:
    """Where a store begins, so that two can be compared; folders by where they really are."""
    if (folder := folder_of(url)) is not None:
        return folder.resolve()
    parts = urlsplit(url)
    return PurePosixPath(f"{parts.scheme}:", parts.netloc, parts.path.strip("/"))
