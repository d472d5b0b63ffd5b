"""Admission of what a header says of masks: that it is of the key roster that stands, or of none. Pure."""

from aggregator.admission.header import DIGEST_BYTES
from isthmus.contribution import ContributionHeader
from isthmus.errors import HeaderInvalid
from isthmus.foreign import quoted
from isthmus.secure_aggregation.keys import KeyRoster


def judge_masks(header: ContributionHeader, *, silo: str, signing_key: bytes, roster: KeyRoster | None) -> None:
    """Checks transcript, seed digest and weight of a header.

    Args:
        header: As it came.
        silo: Who calls.
        signing_key: Of the credential that it calls with.
        roster: The key roster of the header's round; None: the federation has no secure aggregation.

    Raises:
        HeaderInvalid: A delta that is masked and must not be, or the other way; for another key roster, by a silo that
            is not in it, or with another weight than it offered.
    """
    if roster is None:
        if header.transcript or header.seed_digest:
            raise _invalid("a masked delta", "none: the federation has no secure aggregation, or no key roster yet")
        return
    if header.transcript != roster.transcript:
        raise _invalid(
            f"the transcript {quoted(header.transcript.hex()[:12])}",
            f"{roster.transcript.hex()[:12]}, of the key roster",
        )
    member = next((one for one in roster.members if (one.silo, one.signing_key) == (silo, signing_key)), None)
    if member is None:
        raise _invalid(f"silo {silo}", "one that offered a key with this enrolment; wait for the next round")
    if header.num_examples != member.num_examples:
        raise _invalid(f"num_examples {header.num_examples}", f"{member.num_examples}, as was offered with the key")
    if len(header.seed_digest) != DIGEST_BYTES:
        raise _invalid(f"a seed digest of {len(header.seed_digest)} bytes", f"{DIGEST_BYTES} bytes")


def _invalid(measured: str, limit: str) -> HeaderInvalid:
    return HeaderInvalid(
        f"The contribution's header says {measured}; it must be {limit}. SiloClient.push fills in the whole header.",
        check="MASKS",
        measured=measured,
        limit=limit,
    )
