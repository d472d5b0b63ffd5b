"""Protocols that are wrong, each in one way: what an actor takes for the store breaks one rule of the cut.

They are made at the store, not in the code, so that they stay wrong in the same way however the code is written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aggregator.stores import Content, Entry, Store
from tests.model.cut import Cast, View, cut_scene, the_same
from tests.model.scene import Scene


@dataclass(frozen=True)
class Verbs:
    """The five verbs, each of which may be exchanged."""

    get: Callable[..., bytes]
    put: Callable[[str, Content], None]
    put_if_absent: Callable[[str, Content], bool]
    list: Callable[[str], Iterator[Entry]]
    delete: Callable[[str], None]


@dataclass(frozen=True)
class Mutant:
    """One wrong protocol, and the smallest cast that shows it.

    Attributes:
        cast: Who takes part.
        replica_sees: What replicas take for the store.
        push_sees: What pushes take for the store.
        symptom: Words of what the checker finds wrong.
        endings_only: Whether only what silos and replicas were told is judged, so that the harm shows, not its trace.
    """

    cast: Cast
    symptom: str
    replica_sees: View = the_same
    push_sees: View = the_same
    endings_only: bool = False

    def scene(self, scratch: Path) -> Scene:
        """The cut, by this protocol."""
        scene = cut_scene(self.cast, scratch, replica_sees=self.replica_sees, push_sees=self.push_sees)
        return replace(scene, wrong_with_bucket=lambda repaired: "") if self.endings_only else scene


def verbs(store: Store, **exchanged: Any) -> Verbs:
    """The store's verbs but for those that are exchanged."""
    same = Verbs(store.get, store.put, store.put_if_absent, store.list, store.delete)
    return replace(same, **exchanged)


def _keeps_the_marker_to_itself(store: Store) -> Verbs:
    """The closing marker is never written; whoever cuts believes that it was."""
    kept: dict[str, Content] = {}

    def get(key: str, *, start: int = 0, size: int | None = None) -> bytes:
        return bytes(kept[key]) if key in kept else store.get(key, start=start, size=size)

    def put_if_absent(key: str, content: Content) -> bool:
        return kept.setdefault(key, content) is content if _is_marker(key) else store.put_if_absent(key, content)

    return verbs(store, get=get, put_if_absent=put_if_absent)


def _never_looks_for_the_marker(store: Store) -> Verbs:
    """A receipt is given as soon as the contribution is durable."""

    def get(key: str, *, start: int = 0, size: int | None = None) -> bytes:
        if _is_marker(key):
            raise KeyError(key)
        return store.get(key, start=start, size=size)

    return verbs(store, get=get)


def _lists_before_the_marker(store: Store) -> Verbs:
    """The roster is made of the listing that led to the decision to cut."""
    kept: dict[str, tuple[Entry, ...]] = {}

    def listed(prefix: str) -> Iterator[Entry]:
        if prefix.endswith("/contributions"):
            return iter(kept.get(prefix) or kept.setdefault(prefix, tuple(store.list(prefix))))
        return store.list(prefix)

    return verbs(store, list=listed)


def believes_its_own(name: str) -> View:
    """A create-only document is not read back: whoever lost the race goes on with its own."""

    def view(store: Store) -> Verbs:
        kept: dict[str, Content] = {}

        def get(key: str, *, start: int = 0, size: int | None = None) -> bytes:
            return bytes(kept[key]) if key in kept else store.get(key, start=start, size=size)

        def put_if_absent(key: str, content: Content) -> bool:
            if key.endswith(name):
                kept[key] = content
            return store.put_if_absent(key, content)

        return verbs(store, get=get, put_if_absent=put_if_absent)

    return view


def overwrites(name: str) -> View:
    """A document that is created once is overwritten by whoever comes later."""

    def view(store: Store) -> Verbs:
        def put_if_absent(key: str, content: Content) -> bool:
            if name not in key:
                return store.put_if_absent(key, content)
            store.put(key, content)
            return True

        return verbs(store, put_if_absent=put_if_absent)

    return view


def _publishes_before_its_blobs(store: Store) -> Verbs:
    """The manifest is visible before the projector's bytes are."""
    kept: dict[str, Content] = {}

    def put(key: str, content: Content) -> None:
        kept[key] = content if isinstance(content, bytes) else content.read_bytes()

    def put_if_absent(key: str, content: Content) -> bool:
        created = store.put_if_absent(key, content)
        if "/projectors/" in key:
            for blob in kept:
                store.put(blob, kept[blob])
        return created

    return verbs(store, put=put, put_if_absent=put_if_absent)


def _sweeps_before_publishing(store: Store) -> Verbs:
    """What was staged is deleted when the roster is fixed, before its bytes have been aggregated."""

    def put_if_absent(key: str, content: Content) -> bool:
        created = store.put_if_absent(key, content)
        if key.endswith("/roster.json"):
            for entry in store.list(f"{key.partition('/rounds/')[0]}/uploads"):
                store.delete(entry.key)
        return created

    return verbs(store, put_if_absent=put_if_absent)


def _is_marker(key: str) -> bool:
    return key.endswith("/closing.json")


SMALL = Cast(replicas=1, silos="ab", clocks_apart=True)
RACING = Cast(replicas=2, silos="ab", clocks_apart=True)

MUTANTS = {
    "the closing marker is left out": Mutant(
        SMALL, "counted in []", replica_sees=_keeps_the_marker_to_itself, endings_only=True
    ),
    "a receipt is given without looking for the marker": Mutant(
        SMALL, "counted in []", push_sees=_never_looks_for_the_marker
    ),
    "the roster is listed before the marker": Mutant(SMALL, "counted in []", replica_sees=_lists_before_the_marker),
    "a replica aggregates its own roster, not the one that stands": Mutant(
        RACING, "does not follow from its round", replica_sees=believes_its_own("/roster.json")
    ),
    "a roster may be overwritten": Mutant(RACING, "has a receipt", replica_sees=overwrites("/roster.json")),
    "a contribution may be overwritten": Mutant(
        Cast(replicas=1, silos="a", pushes_each=2),
        "is not that of the contribution which stands",
        push_sees=overwrites("/contributions/"),
    ),
    "the manifest comes before the projector's bytes": Mutant(
        SMALL, "are not those that its manifest names", replica_sees=_publishes_before_its_blobs
    ),
    "staged bytes are swept before they are aggregated": Mutant(
        SMALL, "are gone from the store", replica_sees=_sweeps_before_publishing
    ),
}
