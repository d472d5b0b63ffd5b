"""Whether a contribution is what admission let in: its document, its bytes, and what admission measured of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aggregator.admission.header import judge_header
from aggregator.admission.payload import PayloadInspection
from aggregator.ledger import keys
from aggregator.ledger.documents import Contribution, Segment
from aggregator.ledger.records import FederationRecord
from aggregator.ledger.segments import SegmentNames
from aggregator.stores import exists
from aggregator.verifying.evidence import Evidence
from aggregator.verifying.signatures import Signers
from isthmus.errors import IsthmusError


@dataclass(frozen=True, slots=True)
class Checked:
    """A contribution whose document can be read.

    Attributes:
        contribution: The document's value.
        is_whole: Whether its bytes are there and are what the document says.
    """

    contribution: Contribution
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Start:
    """The projector that a round started from: its digest, and whether its bytes are there and are its."""

    digest: bytes
    is_whole: bool


def check_contribution(
    evidence: Evidence,
    record: FederationRecord,
    key: str,
    *,
    start: Start | None,
    may_be_gone: Callable[[], bool],
    signers: Signers,
) -> Checked | None:
    """Checks the contribution under a key; None where there is none that can be read.

    Args:
        evidence: Where everything stands.
        record: The federation.
        key: `rounds/<n>/contributions/<silo>.json` of it.
        start: What its round started from; None where that is not known.
        may_be_gone: Whether its bytes need not be there, since its round is over and did not count it.
        signers: The silos' credentials.
    """
    number, silo = int(key.split("/")[-3]), key.rpartition("/")[2].removesuffix(".json")
    whose = f"The contribution of silo {silo} to round {number}"
    meaning = f"{whose} cannot be trusted, and neither can what it was combined into."
    contribution = evidence.document(key, Contribution.from_json, meaning=meaning)
    if contribution is None:
        return None
    header = contribution.header
    stands = evidence.findings.agree(
        key,
        expected=f"federation {record.federation.name}, round {number}, silo {silo}",
        found=f"federation {header.federation}, round {header.round}, silo {contribution.silo}",
        meaning=f"{whose} is another one: documents were exchanged.",
    )
    if not stands or not _header_holds(evidence, record, contribution, key=key, start=start):
        return Checked(contribution, is_whole=False)
    if not signers.signed(contribution, key=key):
        return Checked(contribution, is_whole=False)
    if not _segments_fit(evidence, contribution, key=key):
        return Checked(contribution, is_whole=False)
    try:
        return _check_bytes(evidence, record, contribution, key=key, may_compare=start is not None and start.is_whole)
    except KeyError as missing:
        if may_be_gone():
            return Checked(contribution, is_whole=False)
        return _told_missing(evidence, contribution, missing.args[0])


def _header_holds(
    evidence: Evidence, record: FederationRecord, contribution: Contribution, *, key: str, start: Start | None
) -> bool:
    header = contribution.header
    try:
        judge_header(
            header,
            federation=record.federation,
            spec=record.spec,
            round_number=header.round,
            base_digest=header.base_digest if start is None else start.digest,
        )
    except IsthmusError as refusal:
        evidence.findings.broke(
            key,
            expected="a header that admission lets in",
            found=f"one that it refuses: {refusal}",
            meaning=f"The delta of silo {contribution.silo} should never have been admitted to round {header.round}.",
        )
        return False
    return True


def _segments_fit(evidence: Evidence, contribution: Contribution, *, key: str) -> bool:
    """Whether the segments are of this push, and reach from the payload's first byte to its last without a gap."""
    prefix = keys.push(contribution.upload)
    position = 0
    for segment in contribution.segments:
        if segment.offset_bytes != position or not segment.key.startswith(f"{prefix}/"):
            break
        position += segment.size_bytes
    return evidence.findings.agree(
        key,
        expected=f"segments of its own push, without a gap, {contribution.header.payload_size_bytes} bytes together",
        found=f"segments of its own push, without a gap, {position} bytes together",
        meaning=f"The delta of silo {contribution.silo} cannot be put together from its segments.",
    )


def _check_bytes(
    evidence: Evidence, record: FederationRecord, contribution: Contribution, *, key: str, may_compare: bool
) -> Checked:
    """Reads the payload once: each segment against its name, the whole against the header and admission's norms.

    Raises:
        KeyError: A segment is not there.
    """
    header = contribution.header

    def read_base(start: int, size: int) -> bytes:
        return evidence.store.get(keys.blob(record.federation.name, header.base_digest), start=start, size=size)

    inspection = PayloadInspection(
        header,
        spec=record.spec,
        policy=record.federation.admission,
        read_base=read_base if may_compare else None,
    )
    names = SegmentNames(evidence.pieces)
    try:
        for segment in contribution.segments:
            if not _feed(evidence, segment, inspection=inspection, names=names):
                return Checked(contribution, is_whole=False)
        admitted = inspection.finish()
    except IsthmusError as refusal:
        evidence.findings.broke(
            key,
            expected="bytes that admission lets in",
            found=f"bytes that it refuses: {refusal}",
            meaning=f"The delta of silo {contribution.silo} is not the one that was admitted.",
        )
        return Checked(contribution, is_whole=False)
    measured = evidence.findings.agree(
        key,
        expected=f"L2 norm {admitted.l2_norm!r}, values from byte {admitted.layout.data_start}",
        found=f"L2 norm {contribution.l2_norm!r}, values from byte {contribution.data_start_bytes}",
        meaning=f"What is on record of the delta of silo {contribution.silo} is not what its bytes give.",
    )
    return Checked(contribution, is_whole=measured)


def _feed(evidence: Evidence, segment: Segment, *, inspection: PayloadInspection, names: SegmentNames) -> bool:
    """Hands a segment's bytes to admission; whether they are those that its key names.

    Raises:
        KeyError: It is not there.
        RefusedDelta: Admission refuses them, though they are those that its key names.
    """
    size, refusals = 0, []

    def fed() -> Iterator[bytes]:
        nonlocal size
        for piece in evidence.pieces(segment.key):
            size += len(piece)
            try:
                inspection.feed(piece)
            except IsthmusError as error:
                refusals.append(error)  # told only if the bytes are the right ones: else they are what is wrong
            yield piece

    named = names.holds(segment.key, fed())
    if not named or size != segment.size_bytes:
        evidence.findings.broke(
            segment.key,
            expected=f"{segment.size_bytes} bytes that bring the payload's SHA-256 to {keys.named_by(segment.key)[1]}",
            found=f"{size} bytes that do not" if size == segment.size_bytes else f"{size} bytes",
            meaning="These bytes of a delta changed since they were stored.",
        )
        return False
    if refusals:
        raise refusals[-1]
    return True


def _told_missing(evidence: Evidence, contribution: Contribution, missing: str) -> Checked:
    header = contribution.header
    if not exists(evidence.store, keys.removal(header.federation, header.round)):
        whose = f"of silo {contribution.silo} to round {header.round}"
        evidence.missing(missing, meaning=f"Bytes of the delta {whose} are lost.")
    return Checked(contribution, is_whole=False)
