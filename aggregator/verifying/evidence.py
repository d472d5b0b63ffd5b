"""Reads what a federation's store holds and judges each object by itself: its seal, or the digest in its name."""

import hashlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from aggregator.ledger import keys
from aggregator.stores import Store
from aggregator.verifying.findings import Findings
from isthmus.errors import InvariantBroken, IsthmusError

T = TypeVar("T")

_PIECE_BYTES = 8 << 20
"""Read at once of an object that may be larger than memory."""


class Evidence:
    """One federation's objects. What was judged once is not read again.

    Args:
        store: Where they are.
        federation: Which federation.
        findings: Told of each object that is not what it must be.
    """

    def __init__(self, store: Store, federation: str, findings: Findings) -> None:
        self.store = store
        self.federation = federation
        self.findings = findings
        self.num_objects = 0
        self.num_bytes = 0
        self._blobs: dict[bytes, bool] = {}

    def document(self, key: str, parse: Callable[[bytes], T], *, meaning: str) -> T | None:
        """The value of a document; None, and a broken link, where it is missing or damaged."""
        content = self.content(key)
        if content is None:
            self.missing(key, meaning=meaning)
            return None
        return self.parsed(key, content, parse, meaning=meaning)

    def parsed(self, key: str, content: bytes, parse: Callable[[bytes], T], *, meaning: str) -> T | None:
        """The value of a document's bytes; None, and a broken link, where they are no such document."""
        try:
            return parse(content)
        except (IsthmusError, LookupError, TypeError, ValueError):
            self.findings.broke(
                key,
                expected="a document whose seal fits its content",
                found=f"{len(content)} bytes with SHA-256 {hashlib.sha256(content).hexdigest()}, which are none",
                meaning=meaning,
            )
            return None

    def content(self, key: str) -> bytes | None:
        """The bytes of a small object; None where there is none, or where a forged document names what is no key."""
        try:
            content = self.store.get(key)
        except (KeyError, InvariantBroken):
            return None
        self.num_objects += 1
        self.num_bytes += len(content)
        return content

    def missing(self, key: str, *, meaning: str) -> None:
        """Adds the broken link of an object that is not there."""
        self.findings.broke(key, expected="an object", found="nothing", meaning=meaning)

    def names(self, prefix: str) -> list[str]:
        """The last parts of the keys right under a prefix, sorted, without ".json"."""
        found = (entry.key.removeprefix(f"{prefix}/") for entry in self.store.list(prefix))
        return [name.removesuffix(".json") for name in found if "/" not in name]

    def pieces(self, key: str) -> Iterator[bytes]:
        """An object's bytes, some at a time.

        Raises:
            KeyError: There is no such object.
        """
        start = 0
        while piece := self.store.get(key, start=start, size=_PIECE_BYTES):
            yield piece
            start += len(piece)
            self.num_bytes += len(piece)
        self.num_objects += 1

    def blob_holds(self, digest: bytes, *, size_bytes: int | None, meaning: str) -> bool:
        """Whether a projector or an optimizer's state is there, and its bytes have the digest that names them."""
        if digest not in self._blobs:
            self._blobs[digest] = self._hashes(keys.blob(self.federation, digest), digest, size_bytes, meaning=meaning)
        return self._blobs[digest]

    def judged(self, digest: bytes) -> bool:
        """Whether `blob_holds` has judged that blob."""
        return digest in self._blobs

    def _hashes(self, key: str, digest: bytes, size_bytes: int | None, *, meaning: str) -> bool:
        measured, size = hashlib.sha256(), 0
        try:
            for piece in self.pieces(key):
                measured.update(piece)
                size += len(piece)
        except KeyError:
            self.missing(key, meaning=meaning)
            return False
        whole = self.findings.agree(key, expected=digest, found=measured.digest(), meaning=meaning)
        if not whole or size_bytes is None:
            return whole
        return self.findings.agree(key, expected=f"{size_bytes} bytes", found=f"{size} bytes", meaning=meaning)
