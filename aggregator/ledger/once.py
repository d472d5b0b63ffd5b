"""Documents that are created once: who comes first decides, and everybody reads back what stands. Talks to a store."""

from aggregator.stores import Store


def stand(store: Store, key: str, document: bytes) -> bytes:
    """Creates the document unless there is one; the one that stands."""
    store.put_if_absent(key, document)
    return store.get(key)


def find(store: Store, key: str) -> bytes | None:
    """The document that stands; None where there is none."""
    try:
        return store.get(key)
    except KeyError:
        return None


def names(store: Store, prefix: str) -> tuple[str, ...]:
    """Whose documents `<prefix>/<name>.json` are there, sorted; one listing, and none is read."""
    return tuple(sorted(entry.key.rpartition("/")[2].removesuffix(".json") for entry in store.list(prefix)))
