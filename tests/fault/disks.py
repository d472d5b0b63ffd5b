"""What the tests of broken disks run inside a mount namespace of its own: fill, freeze or lock a small file system.

Usage: python -m tests.fault.disks full|readonly|denied FOLDER. Prints one line for each thing that was tried.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from aggregator.stores.local import LocalStore
from isthmus.errors import IsthmusError


def tell(what: str, verb: Callable[[], object]) -> None:
    """Prints what became of a verb."""
    try:
        print(f"{what}: {verb()!r}")  # noqa: T201 - read by the test
    except IsthmusError as error:
        print(f"{what}: {type(error).__name__}: {error}")  # noqa: T201 - read by the test


def full(folder: Path) -> None:
    """Fills the disk with segments, then makes room."""
    store = LocalStore(folder / "store")
    tell("small", lambda: store.put_if_absent("a/small", b"x" * 1000))
    tell("large", lambda: store.put_if_absent("a/large", b"x" * 10_000_000))
    tell("overwrite", lambda: store.put("a/small", b"y" * 10_000_000))
    tell("kept", lambda: (store.get("a/small") == b"x" * 1000, [entry.key for entry in store.list("")]))
    store.delete("a/small")
    tell("again", lambda: store.put_if_absent("a/large", b"x" * 100_000))


def readonly(folder: Path) -> None:
    """Remounts the disk read-only under an open store."""
    store = LocalStore(folder / "store")
    tell("before", lambda: store.put_if_absent("a/b", b"content"))
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    tell("get", lambda: store.get("a/b"))
    tell("create", lambda: store.put_if_absent("a/c", b"content"))
    tell("put", lambda: store.put("a/b", b"other"))
    tell("delete", lambda: store.delete("a/b"))
    tell("open", lambda: LocalStore(folder / "store"))


def denied(folder: Path) -> None:
    """Takes the rights away from under an open store."""
    store = LocalStore(folder / "store")
    store.put_if_absent("a/b", b"content")
    if os.geteuid() == 0:
        os.seteuid(65534)
    else:
        (folder / "store").chmod(0)
    tell("create", lambda: store.put_if_absent("a/c", b"content"))
    tell("open", lambda: LocalStore(folder / "store"))
    tell("open another", lambda: LocalStore(folder / "another"))


if __name__ == "__main__":
    {"full": full, "readonly": readonly, "denied": denied}[sys.argv[1]](Path(sys.argv[2]))
