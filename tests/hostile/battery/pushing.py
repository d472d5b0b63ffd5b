"""Pushes as the battery begins, breaks and ends them."""

import numpy as np

from isthmus import errors
from tests.hostile.battery.site import Site
from tests.hostile.forged import delta_of
from tests.serving import Delta, Silo, chunk_part, header_part, refusal

DURABLE = 130
"""Bytes that a broken stream leaves: the safetensors header and some values."""


def spike(value: float) -> bytes:
    """A delta of zeros but for one value."""
    values = np.zeros((2, 3))
    values[0, 0] = value
    return delta_of((values, np.zeros(3)))


def staged(silo: Silo, delta: Delta, *, num_bytes: int = DURABLE) -> int:
    """Leaves the first bytes of a push durable, as a broken stream does; how many."""
    assert errors.FinishMissing is type(
        refusal(lambda: silo.send([header_part(delta), chunk_part(0, delta.payload[:num_bytes])]))
    )
    return silo.push_status(delta).committed_bytes


def counts(site: Site, silo: Silo, delta: Delta) -> None:
    """The honest rest: the push can be resumed where it stands, and is counted once."""
    receipt = silo.push(delta, start=silo.push_status(delta).committed_bytes)
    assert receipt.payload_digest == delta.header.payload_digest
    contributions = [name for name in site.written(silo.federation) if "/contributions/" in name]
    assert ["rounds/1/contributions/mallory.json"] == contributions
