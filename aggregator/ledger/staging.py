"""Staged bytes of pushes that are under way. Talks to a store only.

Nothing staged is deleted while its round may still aggregate it: a push whose bytes were wrong is *dropped* by a marker
that makes the next attempt start at 0 under another prefix, and the bytes go when the round is published.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from aggregator.ledger import keys
from aggregator.ledger.documents import Contribution, Segment, Upload
from aggregator.ledger.segments import longest_chain
from aggregator.stores import Store, exists

MIN_COUNTED_BYTES = 64 << 10
"""What the smallest run counts as in a silo's total: every broken stream leaves a run, and each costs a key."""


@dataclass(frozen=True, slots=True)
class StagedTotal:
    """What one silo has staged for one round, whatever became of it.

    Attributes:
        size_bytes: Of all runs, each counted as `MIN_COUNTED_BYTES` at least.
        num_attempts: Payloads that it began, dropped ones included.
    """

    size_bytes: int
    num_attempts: int


def stage(store: Store, upload: Upload, *, offset_bytes: int, data: bytes | memoryview, digest: bytes) -> Segment:
    """Makes a run of bytes durable; the same run staged twice is one segment. `digest` as `keys.segment` says."""
    key = keys.segment(upload, _attempt(store, upload), offset_bytes=offset_bytes, digest=digest)
    store.put_if_absent(key, data)
    return Segment(offset_bytes=offset_bytes, size_bytes=len(data), key=key)


def committed(store: Store, upload: Upload) -> list[Segment]:
    """The durable bytes of the current attempt, without a gap from 0."""
    entries = store.list(keys.staged(upload, _attempt(store, upload)))
    return longest_chain(
        Segment(offset_bytes=keys.named_by(key)[0], size_bytes=size_bytes, key=key) for key, size_bytes in entries
    )


def total(store: Store, federation: str, round_number: int, *, silo: str) -> StagedTotal:
    """What a silo has staged for a round: one listing, so that every replica counts the same."""
    size_bytes, attempts = 0, set()
    prefix = keys.uploads_of(federation, round_number, silo)
    for key, run_bytes in store.list(prefix):
        push_id, attempt, *run = key.removeprefix(f"{prefix}/").split("/")
        attempts.add((push_id, attempt.removeprefix(keys.DROPPED)))
        size_bytes += max(run_bytes, MIN_COUNTED_BYTES) if run else 0
    return StagedTotal(size_bytes=size_bytes, num_attempts=len(attempts))


def drop(store: Store, upload: Upload) -> None:
    """Ends the current attempt: the next one starts at 0. Nothing is deleted: a racing stream may have counted it."""
    store.put_if_absent(keys.dropped(upload, _attempt(store, upload)), b"")


def sweep(store: Store, prefix: str, *, kept: Iterable[Contribution]) -> int:
    """Deletes what was staged under the prefix and no kept contribution refers to; the number of keys deleted.

    Call it only for a round that is published.
    """
    needed = {segment.key for contribution in kept for segment in contribution.segments}
    garbage = [entry.key for entry in store.list(prefix) if entry.key not in needed]
    for key in garbage:
        store.delete(key)
    return len(garbage)


def _attempt(store: Store, upload: Upload) -> int:
    return next(number for number in itertools.count() if not exists(store, keys.dropped(upload, number)))
