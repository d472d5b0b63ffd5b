"""What a long command is doing, for whoever watches: one line on standard error that is replaced."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Gives a function that tells how far it is; nothing is written where standard error is no terminal."""
    watched = sys.stderr.isatty()

    def tell(text: str) -> None:
        if watched:
            print(f"\r\x1b[K{what}: {text}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if watched:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
