"""Files that are whole or absent, whatever dies when."""

import os
from collections.abc import Iterable
from pathlib import Path


def write_durably(file: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Makes the file hold the parts, in one step: a reader or a crash sees the old file or the new, never a mix.

    When this returns, file and name survive the death of the machine.

    Raises:
        OSError: The folder cannot be written; the file is as it was.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as content:
            for part in parts:
                content.write(part)
            content.flush()
            os.fsync(content.fileno())
        aside.replace(file)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Makes the folder's names (new, renamed, removed) survive the death of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
