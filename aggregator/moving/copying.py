"""The copy of one federation from one store to another: an export, an import, or a move between buckets.

The destination holds no federation until the last key is there, and may be filled again and again until then: what is
there with the same content is not written twice. A destination that holds anything else of that name is refused before
a byte is written; one that holds the whole federation is compared and never changed. Everything that is copied is
checked on the way: documents by their seal, tensors by the digest in their key. Memory: one segment, or `_READ_BYTES`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from aggregator.ledger import Ledger, keys, removal
from aggregator.ledger.canonical import fields_of
from aggregator.ledger.segments import SegmentNames
from aggregator.moving.order import Extent, blob_digests, extent_of, operators_keys, record_keys, round_keys
from aggregator.stores import Entry, Store, exists
from aggregator.stores.aside import aside
from isthmus.errors import FederationExists, InvariantBroken, ScratchUnavailable

_READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """How far a copy came.

    Attributes:
        extent: How much of the federation it copies.
        round: The round that it is at; 0 before the first.
        num_keys: Keys written.
        num_present: Keys that the destination had.
        size_bytes: Bytes written.
    """

    extent: Extent
    round: int = 0
    num_keys: int = 0
    num_present: int = 0
    size_bytes: int = 0


def copy_federation(
    source: Store, destination: Store, name: str, *, scratch: Path, tell: Callable[[Copied], None] = lambda copied: None
) -> Copied:
    """Copies a federation, or goes on where an earlier copy broke off.

    Args:
        source: Where it is; only read.
        destination: Where it goes.
        name: The federation; its name stays, since every digest in it covers it.
        scratch: An existing folder with room for one projector or optimizer state.
        tell: Called after each round.

    Raises:
        FederationUnknown: The source has no such federation.
        FederationExists: The destination holds another federation of that name, or has gone on by itself.
        InvariantBroken: Stored bytes of the source are missing or damaged.
        StoreUnavailable: A store failed; the same call goes on.
        ScratchUnavailable: The scratch folder failed; the same call goes on.
    """
    extent = extent_of(Ledger(source), name)
    records = list(record_keys(source, extent))
    complete = exists(destination, keys.federation_file(name))
    _require_same(source, destination, name)
    copy = _Copy(source, destination, Copied(extent), scratch=scratch, writes=not complete)
    copy.projector(0)
    for number in extent.rounds:
        copy.round(number)
        tell(copy.copied)
    copy.operators()
    for key in records:
        copy.key(key)
    copy.key(keys.catalog(name))
    copy.key(keys.federation_file(name))
    return copy.copied


class _Copy:
    """One copy under way; its methods are called in the order in which a federation is written."""

    def __init__(self, source: Store, destination: Store, start: Copied, *, scratch: Path, writes: bool) -> None:
        self._source = source
        self._ledger = Ledger(source)
        self._destination = destination
        self._scratch = scratch
        self._writes = writes
        self._segment_names = SegmentNames(lambda key: [source.get(key)])
        self._name = start.extent.federation
        self.copied = start

    def round(self, number: int) -> None:
        """Staged bytes, documents, blobs, and the manifest of one round."""
        self.copied = replace(self.copied, round=number)
        found = round_keys(self._source, self._name, number)
        present = {entry.key for entry in self._destination.list(keys.uploads(self._name, number))}
        for entry in found.staged:
            self._staged(entry, present=entry.key in present)
        for entry in found.documents:
            self.key(entry.key)
        if removal.find(self._source, self._name, number) is not None:
            self._remove_as_the_source_did(number)
        self._require_roster_whole(number)
        if number <= self.copied.extent.latest:
            self.projector(number)

    def projector(self, number: int) -> None:
        """The blobs of a global projector, then its manifest."""
        for digest in blob_digests(self._ledger, self._name, number):
            self._blob(digest)
        self.key(keys.projector(self._name, number))

    def operators(self) -> None:
        """What the operator says of silos and of the federation's state, as it is now."""
        wanted = set()
        for key in operators_keys(self._source, self._name):
            wanted.add(key)
            self.key(key)
        if self._writes:  # a silo that was barred when an earlier copy broke off, and is not any more
            lifted = {entry.key for entry in self._destination.list(keys.revocations(self._name))} - wanted
            for key in sorted(lifted):
                self._destination.delete(key)

    def key(self, key: str) -> None:
        """A document or a marker, checked by its seal if it has one."""
        operators = _is_operators(self._name, key)
        try:
            content = self._source.get(key)
        except KeyError:
            if operators:
                return  # a revocation that was lifted since it was listed
            raise _damaged(key) from None
        _require_sealed(key, content)
        if self._there(key) == content:
            self._count(present=True)
            return
        self._require_writing(key)
        if operators:
            self._destination.put(key, content)
        else:
            _create(self._destination, key, content)
        self._count(size_bytes=len(content))

    def _staged(self, entry: Entry, *, present: bool) -> None:
        is_segment = not entry.key.rpartition("/")[2].startswith(keys.DROPPED)
        if present:
            if is_segment:
                self._segment_names.skip(entry.key)
            self._count(present=True)
            return
        try:
            content = self._source.get(entry.key)
        except KeyError:
            return  # swept or removed since it was listed; what the roster needs is looked for afterwards
        if is_segment:
            holds = self._segment_names.holds(entry.key, [content])
            if holds is None:
                return  # what lies before it was swept since it was listed, so it will be, too
            if not holds:
                raise _damaged(entry.key)
        self._require_writing(entry.key)
        self._destination.put_if_absent(entry.key, content)
        self._count(size_bytes=len(content))

    def _blob(self, digest: bytes) -> None:
        key = keys.blob(self._name, digest)
        if exists(self._destination, key):
            self._count(present=True)
            return
        self._require_writing(key)
        try:
            with aside(self._scratch) as file:
                size_bytes, found = 0, hashlib.sha256()
                while part := self._read(key, start=size_bytes):
                    file.write(part)
                    found.update(part)
                    size_bytes += len(part)
                file.flush()
                if found.digest() != digest:
                    raise _damaged(key)
                self._destination.put(key, Path(file.name))
        except OSError as error:
            raise ScratchUnavailable(
                f"The folder for temporary files {self._scratch} failed ({error.strerror}). Make room in it, or name "
                "another one in TMPDIR."
            ) from error
        self._count(size_bytes=size_bytes)

    def _read(self, key: str, *, start: int) -> bytes:
        try:
            return self._source.get(key, start=start, size=_READ_BYTES)
        except KeyError:
            raise _damaged(key) from None

    def _remove_as_the_source_did(self, number: int) -> None:
        """Housekeeping came to the source, now or since a copy broke off: its record goes first here too."""
        self.key(keys.removal(self._name, number))
        if self._writes:
            for entry in list(self._destination.list(keys.uploads(self._name, number))):
                self._destination.delete(entry.key)

    def _require_roster_whole(self, number: int) -> None:
        copy = Ledger(self._destination)
        roster = copy.roster(self._name, number)
        contributions = copy.roster_contributions(roster) if roster else []
        for round_of_them in {one.header.round for one in contributions}:
            if removal.find(self._destination, self._name, round_of_them) is None:
                held = {entry.key for entry in self._destination.list(keys.uploads(self._name, round_of_them))}
                theirs = (one for one in contributions if one.header.round == round_of_them)
                missing = [segment.key for one in theirs for segment in one.segments if segment.key not in held]
                if missing:
                    raise _damaged(missing[0])

    def _there(self, key: str) -> bytes | None:
        try:
            return self._destination.get(key)
        except KeyError:
            return None

    def _require_writing(self, key: str) -> None:
        if not self._writes:
            raise _refused(self._name, key, "lacks it or holds it otherwise")

    def _count(self, *, present: bool = False, size_bytes: int = 0) -> None:
        was = self.copied
        self.copied = replace(
            was,
            num_keys=was.num_keys + (not present),
            num_present=was.num_present + present,
            size_bytes=was.size_bytes + size_bytes,
        )


def _require_same(source: Store, destination: Store, name: str) -> None:
    """Checks that the destination holds nothing of that name that is not the source's own."""
    named_by_digest = (f"{keys.all_uploads(name)}/", f"{keys.blobs(name)}/")  # what is too much there harms nobody
    for entry in destination.list(keys.federation_prefix(name)):
        if entry.key.startswith(named_by_digest) or _is_operators(name, entry.key):
            continue
        try:
            same = source.get(entry.key) == destination.get(entry.key)
        except KeyError:
            same = False
        if not same:
            raise _refused(name, entry.key, "has it and the source does not, or holds it otherwise")


def _is_operators(name: str, key: str) -> bool:
    """Whether the operator overwrites it; of all else the first content stands for ever."""
    return key == keys.state(name) or key.startswith((f"{keys.silos(name)}/", f"{keys.revocations(name)}/"))


def _require_sealed(key: str, content: bytes) -> None:
    """Checks a document by its seal; markers have none."""
    if key.endswith(".json"):
        try:
            fields_of(content)
        except InvariantBroken:
            raise _damaged(key) from None


def _create(destination: Store, key: str, content: bytes) -> None:
    if not destination.put_if_absent(key, content) and destination.get(key) != content:
        raise _refused(key.split("/")[1], key, "was written by another meanwhile")


def _refused(name: str, key: str, what: str) -> FederationExists:
    return FederationExists(
        f"The destination holds a federation {name} that is not this one as it stands: it {what} ({key}). Copy to "
        "another place; nothing there was overwritten."
    )


def _damaged(key: str) -> InvariantBroken:
    return InvariantBroken(
        f"Bytes of the source are missing or damaged at {key}, so it cannot be copied. `isthmus verify` tells more."
    )
