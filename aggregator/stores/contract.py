"""The store: five verbs over named bytes. Knows nothing of federations; `ledger` knows which key holds what."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from isthmus.errors import InvariantBroken

_KEY_PATTERN = re.compile(r"(?:(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,255}/)*(?!\.{1,2}$)[A-Za-z0-9._-]{1,255}")

Content = bytes | memoryview | Path
"""What is written: bytes, or a file whose bytes are (so that a projector need not fit in memory), and that
its owner changes no more: a store on the same disk may keep it as it is."""


class Entry(NamedTuple):
    """One key that exists, and the size of what it holds."""

    key: str
    size_bytes: int


class Store(Protocol):
    """A bucket. Keys are non-empty "/"-separated parts of `[A-Za-z0-9._-]+`, none of them "." or "..".

    No key may be a folder of another ("a" beside "a/b"): not every backend can hold both.

    1. `get` gives the bytes, or those of the range; a range that reaches beyond the end gives what is there, which may
       be nothing.
    2. `get` of a key that does not exist raises KeyError.
    3. `put` makes the key hold the content, whatever it held; a reader sees the old bytes or the new, never a mix.
    4. `put_if_absent` gives True when this call created the key, False when it exists (and changes nothing); of any
       number of racing calls exactly one gets True, and its content is whole for every reader from then on.
    5. `list` gives every key under the prefix (whole parts: "a/b" matches "a/b/c", but neither "a/bc" nor "a/b"; ""
       matches all), sorted, with sizes; a key whose put returned before the call began is in it (linearizable), one
       deleted before is not.
    6. `delete` removes the key; a key that does not exist is no error.
    7. What put or put_if_absent returned for survives the death of this process and, for durable stores, of the
       machine.

    8. A key that breaks the rule above is our bug: InvariantBroken, and nothing is touched.

    Every verb raises StoreUnavailable when the backend cannot be reached or refuses, and StoreFull when it has no room;
    then nothing is known of the effect of that call, and repeating it is safe.
    """

    def get(self, key: str, *, start: int = 0, size: int | None = None) -> bytes:
        """The bytes of `key` from `start`, at most `size` of them (None: to the end)."""
        ...

    def put(self, key: str, content: Content) -> None:
        """Makes `key` hold `content`."""
        ...

    def put_if_absent(self, key: str, content: Content) -> bool:
        """Makes `key` hold `content` unless it exists; True when this call created it."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every key under `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Removes `key` if it exists."""
        ...


def exists(store: Store, key: str) -> bool:
    """Whether the key holds anything; reads one byte at most."""
    try:
        store.get(key, start=0, size=1)
    except KeyError:
        return False
    return True


def require_key(key: str) -> None:
    """Checks that this is a key.

    Raises:
        InvariantBroken: It is not; whoever made it did not check what it made it of.
    """
    if not _KEY_PATTERN.fullmatch(key):
        raise InvariantBroken(f"{key[:300]!r} is not a key of the store.")
