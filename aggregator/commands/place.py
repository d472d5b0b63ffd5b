"""The store that a command line names, for commands that need no aggregator."""

import os
from argparse import Namespace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aggregator.config import load_config
from aggregator.stores import Store, open_store
from isthmus.errors import ConfigInvalid


def store_of(arguments: Namespace) -> Store:
    """The store of --store, or of the aggregator's settings that --config names.

    Raises:
        ConfigInvalid: It names no store, or a folder that is not there.
    """
    return open_existing(url_of(arguments))


def url_of(arguments: Namespace) -> str:
    """The URL of that store."""
    if arguments.store is not None:
        return str(arguments.store)
    return load_config(arguments.config, environment=os.environ).store


def open_existing(url: str) -> Store:
    """The store of this URL.

    Raises:
        ConfigInvalid: It names no store, or a folder that is not there: a misspelt one must not be made.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file") and url.strip() and not Path(unquote(parts.path)).is_dir():
        raise ConfigInvalid(f"There is no folder {unquote(parts.path)}. Name the folder that holds the store.")
    return open_store(url)
