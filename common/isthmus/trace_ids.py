"""Where in which trace a span belongs, told from what both sides know already: no field of the protocol carries it.

A silo's part in a round is one trace, and a round's cut another. Their ids follow from names, so every replica, every
restart and both sides find the same ones, and a caller chooses none: of what it sends in `traceparent`, the span above
its call is taken, and only within the trace that its call belongs to anyway. Pure.
"""

import hashlib
import re
from dataclasses import dataclass, replace

from isthmus.contribution import push_id

TRACEPARENT = "traceparent"
"""The key of the call's metadata, as the W3C's Trace Context names it."""

_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a span belongs.

    Attributes:
        trace_id: Of 128 bits; never 0.
        span_id: Of 64 bits, where others must find this very span; 0: any.
        parent_id: Of 64 bits: the span above it at the other side of a call; 0: it is known here, or there is none.
    """

    trace_id: int
    span_id: int = 0
    parent_id: int = 0


def of_silo(federation: str, round_number: int, silo: str) -> Place:
    """Where a silo's part in a round belongs; `round_number` is the round that it trains from."""
    return Place(_number("silo", federation, str(round_number), silo, size=16))


def of_contribution(federation: str, round_number: int, *, silo: str, payload_digest: bytes) -> Place:
    """The span in which that very delta became a contribution: in its silo's trace, and what the cut's links to."""
    identity = push_id(federation, round_number, silo=silo, payload_digest=payload_digest)
    return replace(of_silo(federation, round_number, silo), span_id=_number("contribution", identity, size=8))


def of_round(federation: str, round_number: int) -> Place:
    """The span of a round's cut, aggregation and publication."""
    parts = (federation, str(round_number))
    return Place(_number("round", *parts, size=16), _number("round.span", *parts, size=8))


def below(place: Place, traceparent: str) -> Place:
    """The same place under the span that a caller named, where that is one of the same trace."""
    found = _FORM.fullmatch(traceparent)
    if found is None or int(found[1], 16) != place.trace_id:
        return place
    return replace(place, parent_id=int(found[2], 16))


def traceparent_of(trace_id: int, span_id: int) -> str:
    """What a call's metadata carries."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"


def _number(*parts: str, size: int) -> int:
    """The first bytes of a digest; 1 in place of 0, which would mean that there is none."""
    digest = hashlib.sha256("\n".join(("isthmus.trace", *parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:size], "big") or 1
