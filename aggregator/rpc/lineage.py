"""A federation's lineage as messages, page by page: no answer outgrows a message, whatever the number of rounds."""

from aggregator.ledger import Ledger
from aggregator.rpc.seal import Seal
from isthmus.errors import ProjectorUnknown
from isthmus.v1 import admin_pb2

PAGE_BYTES = 1 << 20
"""Of manifests in one answer; a message is capped at 4 MiB, and one manifest names up to 10,000 silos."""

PAGE_MANIFESTS = 256
"""Manifests in one answer at most: each may be one read of the store, and the caller waits meanwhile."""


def projectors_page(
    ledger: Ledger, federation: str, *, first_number: int, seal: Seal
) -> admin_pb2.ListProjectorsResponse:
    """The manifests from `first_number` on, as many as one answer holds.

    Raises:
        ProjectorUnknown: It was not published (yet).
    """
    latest = ledger.latest_number(federation)
    if first_number > latest:
        raise ProjectorUnknown(
            f"Federation {federation} has not published projector {first_number}; the newest is {latest}."
        )
    page = admin_pb2.ListProjectorsResponse()
    for number in range(first_number, latest + 1):
        manifest = seal.manifest(ledger.manifest(federation, number), federation=federation)
        is_full = len(page.projectors) == PAGE_MANIFESTS or page.ByteSize() + manifest.ByteSize() > PAGE_BYTES
        if page.projectors and is_full:
            page.next_number = number
            break
        page.projectors.append(manifest)
    return page
