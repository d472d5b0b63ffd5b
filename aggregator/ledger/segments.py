"""Which staged segments make up a payload, and how to read it. Pure but for the reads it is given."""

from collections.abc import Callable, Iterable, Sequence

from aggregator.ledger.documents import Segment
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
