"""A chain of records: numbered from 0, each with the SHA-256 of the bytes before it. Talks to a store only.

Nothing that stands is parsed or counted when one is added: the next number follows the last that is there, and the link
is to the bytes that are there, or were when they were read. So a record that was damaged or taken out bars no other;
`isthmus verify` names it.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aggregator.ledger.once import find
from aggregator.stores import Store
from isthmus.errors import InvariantBroken

_NUMBERED = re.compile(r"[0-9]{1,18}\.json")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next record of a chain goes.

    Attributes:
        sequence: Its number.
        previous: Hex SHA-256 of the record before; "": it is the first.
    """

    sequence: int
    previous: str


def append(
    store: Store,
    prefix: str,
    *,
    key: Callable[[int], str],
    document: Callable[[Place], bytes],
    most: int | None = None,
    after: Place | None = None,
) -> Place | None:
    """Adds a record behind the last; None, and nothing added, where its number would be `most` or above.

    Racing appends all end up in the chain, in some order.

    Args:
        store: Where.
        prefix: Of the chain's keys.
        key: The key of the record of this number.
        document: The record that goes to this place.
        most: How many records there may be; None: any number.
        after: What an earlier append gave. What came since is then read record by record instead of listing them all.

    Returns:
        The place behind the record.

    Raises:
        InvariantBroken: What stands at the next place is no record of the chain by its name: somebody put a number
            there that leaves no room behind it.
    """
    taken = None
    while True:
        place = _next(store, prefix) if after is None else _following(store, key, after)
        if place == taken:
            raise InvariantBroken(f"The chain under {prefix} has no place behind its record {place.sequence - 1}.")
        if most is not None and place.sequence >= most:
            return None
        content = document(place)
        # A bucket whose answer was lost may deny having created what stands, so what stands is asked.
        if store.put_if_absent(key(place.sequence), content) or find(store, key(place.sequence)) == content:
            return Place(place.sequence + 1, hashlib.sha256(content).hexdigest())
        taken = place


def numbered(store: Store, prefix: str) -> Iterator[tuple[int, str]]:
    """Number and key of every record that is there, in the chain's order; other objects are no part of it."""
    names = ((entry.key.removeprefix(f"{prefix}/"), entry.key) for entry in store.list(prefix))
    return iter(sorted((int(name.removesuffix(".json")), key) for name, key in names if _NUMBERED.fullmatch(name)))


def head(store: Store, prefix: str) -> str:
    """Hex SHA-256 of the last record's bytes; "" where there is none."""
    return _next(store, prefix).previous


def _next(store: Store, prefix: str) -> Place:
    while True:
        chain = list(numbered(store, prefix))
        if not chain:
            return Place(0, "")
        number, key = chain[-1]
        content = find(store, key)
        if content is not None:  # else somebody took it out since it was listed
            return Place(number + 1, hashlib.sha256(content).hexdigest())


def _following(store: Store, key: Callable[[int], str], place: Place) -> Place:
    """The first place from this one on where there is no record."""
    while (content := find(store, key(place.sequence))) is not None:
        place = Place(place.sequence + 1, hashlib.sha256(content).hexdigest())
    return place
