"""Content-addressed tensors: projectors and optimizer states, named by the SHA-256 of their bytes."""

import hashlib
from pathlib import Path

from aggregator.ledger import keys
from aggregator.stores import Content, Store, exists


def digest_of(content: Content) -> tuple[bytes, int]:
    """SHA-256 and size of the content, read once from front to end."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest(), file.tell()
    return hashlib.sha256(content).digest(), len(content)


def put(store: Store, federation: str, content: Content, *, digest: bytes) -> None:
    """Stores the content under its digest, as `digest_of` gives it; bytes already there are left alone."""
    key = keys.blob(federation, digest)
    if not exists(store, key):
        # An overwrite, not a create-only put: equal keys have equal bytes, and buckets stream only overwrites.
        store.put(key, content)
