"""Which staged segments make up a payload, how to read it, and what their names say. Pure but for the reads given."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from aggregator.ledger.documents import Segment
from aggregator.ledger.keys import named_by
from isthmus.errors import InvariantBroken


def longest_chain(segments: Iterable[Segment]) -> list[Segment]:
    """The segments that, one after the other and without a gap from 0, reach furthest.

    Replicas that resumed one push may have staged runs that overlap. More segments never make the chain end earlier,
    and the same segments always give the same chain: among several that reach as far, sorted keys decide.
    """
    arrivals: dict[int, Segment] = {}
    for segment in sorted(segments, key=lambda one: (one.offset_bytes, one.key)):
        end = segment.offset_bytes + segment.size_bytes
        if segment.offset_bytes == 0 or segment.offset_bytes in arrivals:
            arrivals.setdefault(end, segment)
    chain = []
    position = max(arrivals, default=0)
    while position > 0:
        chain.append(arrivals[position])
        position = arrivals[position].offset_bytes
    return chain[::-1]


def read_range(
    segments: Sequence[Segment], get: Callable[[Segment, int, int], bytes], *, start: int, size: int
) -> bytes:
    """The payload's bytes from `start`, `size` of them, out of the segments that hold them.

    Args:
        segments: A whole payload, in order and without a gap.
        get: Gives (segment, start within it, size) its bytes.
        start: First byte wanted.
        size: How many; the payload has them all.

    Raises:
        InvariantBroken: A segment gave fewer bytes than it holds.
    """
    parts = []
    for segment in segments:
        first = max(start - segment.offset_bytes, 0)
        last = min(start + size - segment.offset_bytes, segment.size_bytes)
        if first < last:
            parts.append(get(segment, first, last - first))
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) != size:
        raise InvariantBroken(f"Bytes {start} to {start + size} of a payload were asked for; {len(data)} came.")
    return data


class SegmentNames:
    """Judges staged segments by their names, which are met in the order of their keys.

    A name is the digest of the payload up to the segment's end, so what lies before the segment is read, too: once,
    and only where a segment behind it is to be judged.

    Args:
        read: Gives the bytes under a key, some at a time; raises KeyError where there are none.
    """

    def __init__(self, read: Callable[[str], Iterable[bytes]]) -> None:
        self._read = read
        self._attempt = ""
        self._passed: list[str] = []
        self._hashes = {0: [hashlib.sha256()]}

    def skip(self, key: str) -> None:
        """Passes a segment that need not be judged here."""
        self._enter(key)
        self._passed.append(key)

    def holds(self, key: str, data: Iterable[bytes]) -> bool | None:
        """Whether this segment's bytes are those that it names; None: nobody can tell, for what lies before it is gone.

        Raises:
            KeyError: As `data` does.
        """
        self._enter(key)
        passed, self._passed = self._passed, []
        for before in passed:
            with suppress(KeyError):  # removed since it was listed
                self._follow(before, self._read(before))
        return self._follow(key, data)

    def _enter(self, key: str) -> None:
        attempt = key.rpartition("/")[0]
        if attempt != self._attempt:
            self._attempt, self._passed, self._hashes = attempt, [], {0: [hashlib.sha256()]}

    def _follow(self, key: str, data: Iterable[bytes]) -> bool | None:
        offset, name = named_by(key)
        hashes = [known.copy() for known in self._hashes.get(offset, [])]
        size_bytes = 0
        for piece in data:
            size_bytes += len(piece)
            for one in hashes:
                one.update(piece)
        for one in hashes:
            if one.hexdigest() == name:
                self._hashes.setdefault(offset + size_bytes, []).append(one)
                return True
        return False if hashes else None
