"""A round's cut as spans: from its deciding to its projector, linked to the span of every contribution."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from aggregator.advance import Published
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Contribution
from isthmus import traces
from isthmus.errors import IsthmusError
from isthmus.trace_ids import Place, of_contribution, of_round

_PARTS = (
    ("round.cut", "", "roster"),
    ("round.combine", "roster", "combined"),
    ("round.publish", "combined", "manifest"),
)
"""Each span's name, the point it begins at and the one it ends at; see `aggregator.advance.POINTS`."""


@contextmanager
def round_span(ledger: Ledger, published: Published, reached: Mapping[str, float]) -> Iterator[None]:
    """The span of a round that this replica just published; logs within carry its ids.

    Args:
        ledger: Where the roster's contributions are.
        published: What came of the step.
        reached: When it reached which point, in seconds since 1970; "" is its beginning.
    """
    if not traces.on():
        yield
        return
    manifest, roster = published.manifest, published.roster
    place, links = of_round(roster.federation, roster.round), _links(ledger, published)
    with traces.span("round", place, since=reached[""], federation=roster.federation, round=roster.round) as span:
        for name, begins, ends in _PARTS:
            if begins in reached and ends in reached:
                into = links if name == "round.combine" else ()
                traces.lasted(name, replace(place, span_id=0), since=reached[begins], until=reached[ends], links=into)
        span.tell(
            num_contributions=len(roster.entries),
            abandoned=int(roster.abandoned),
            reverted=int(manifest.reverted),
            projector=manifest.digest.hex()[:12],
        )
        yield


def _links(ledger: Ledger, published: Published) -> list[Place]:
    try:
        return [_place(one) for one in ledger.roster_contributions(published.roster)]
    except IsthmusError:  # the round is published: what is told of it must not fail it
        return []


def _place(contribution: Contribution) -> Place:
    header = contribution.header
    return of_contribution(
        header.federation, header.round, silo=contribution.silo, payload_digest=header.payload_digest
    )
