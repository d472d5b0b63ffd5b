"""A delta from its header to its receipt: judged, staged, committed, counted; every refusal on record.

Decides nothing itself: admission judges, the ledger stores, the closing check tells whether a contribution counts.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from aggregator.admission.header import judge_header
from aggregator.admission.masks import judge_masks
from aggregator.admission.payload import PayloadInspection
from aggregator.admission.signature import judge_signature
from aggregator.advance import counted
from aggregator.ledger import Ledger, masking, replays, strikes
from aggregator.ledger.documents import Contribution, Upload
from aggregator.ledger.records import CredentialRecord
from aggregator.metrics.meters import Meters
from aggregator.rpc.cuttable import Cuttable
from aggregator.rpc.identity import while_allowed
from aggregator.rpc.incoming import UploadSession
from aggregator.rpc.quota import Quota, require_quota
from aggregator.rpc.rates import UploadRate
from aggregator.rpc.room import StoreRoom
from aggregator.rpc.running import require_running
from aggregator.rpc.slots import Slots
from isthmus.contribution import ContributionHeader, Receipt, push_id
from isthmus.errors import (
    ContributionConflict,
    DeltaReplayed,
    HeaderInvalid,
    IsthmusError,
    RefusedDelta,
    RoundMoved,
)
from isthmus.federation import Federation
from isthmus.logs import Event, log_event
from isthmus.trace_ids import of_contribution, of_round
from isthmus.traces import silo_span, span
from isthmus.v1 import projector_pb2
from isthmus.wire import header_from_proto

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PushCall:
    """One PushDelta call, whoever its caller is.

    Attributes:
        silo: Who calls.
        credential: What it calls with.
        header: As it came.
        chunks: The rest of the stream, see `chunks_until_finish`.
        call: Is cut off when it is too slow.
        require_enrolled: Raises when the silo was revoked meanwhile.
        traceparent: What the caller says its span is; "": nothing.
    """

    silo: str
    credential: CredentialRecord
    header: projector_pb2.ContributionHeader
    chunks: Iterator[projector_pb2.Chunk]
    call: Cuttable
    require_enrolled: Callable[[], object]
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Allowances:
    """What is asked before an upload that may begin does: each may refuse it.

    Attributes:
        quota: What one silo may stage for one round.
        rate: How many uploads one silo may begin in an hour.
        room: What one federation may take of the store.
    """

    quota: Quota
    rate: UploadRate
    room: StoreRoom


class Pushes:
    """Receives deltas.

    Args:
        ledger: Where everything is stored.
        slots: How many uploads may run at once.
        allowances: What else an upload must fit.
        clock: The instant now, UTC.
        on_answer: Called after each contribution that counts and each hostile payload, so that a due cut need not wait
            for its turn.
        meters: Told of what comes, is admitted or refused.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        slots: Slots,
        allowances: Allowances,
        clock: Callable[[], datetime],
        on_answer: Callable[[], None],
        meters: Meters,
    ) -> None:
        self._ledger = ledger
        self._meters = meters
        self._slots = slots
        self._allowances = allowances
        self._clock = clock
        self._on_answer = on_answer

    def receive(self, push: PushCall) -> Receipt:
        """The receipt of a delta that is durable and counted.

        Raises:
            IsthmusError: As the comment of PushDelta in aggregator.proto lists.
        """
        header = push.header
        open_round = self._ledger.latest_number(header.federation) + 1
        try:
            with silo_span(
                "delta.receive", header.federation, header.round, silo=push.silo, traceparent=push.traceparent
            ):
                return self._receive(push, open_round=open_round)
        except (RefusedDelta, RoundMoved, ContributionConflict, DeltaReplayed) as refusal:
            self._record(push, refusal, open_round=open_round)
            raise

    def standing(self, federation: str, *, round_number: int, silo: str, payload_digest: bytes) -> Receipt | None:
        """The receipt of this very payload when it is counted already; None when it was never committed.

        Raises:
            RoundClosed: What the silo contributed to this round, be it this or another payload, came too late.
            ContributionConflict: The silo contributed other bytes to this round, and they are counted.
        """
        contribution = self._ledger.contribution(federation, round_number, silo)
        if contribution is None:
            return None
        receipt = counted(self._ledger, contribution)
        if contribution.header.payload_digest != payload_digest:
            raise ContributionConflict(
                f"Silo {silo} already contributed another delta to round {round_number} of {federation}; "
                "the first stands. Go on with the next round.",
                sha256=contribution.header.payload_digest.hex(),
            )
        return receipt

    def receipt_if_counted(
        self, federation: str, *, round_number: int, silo: str, payload_digest: bytes
    ) -> Receipt | None:
        """The receipt of this very payload when it is counted; None whatever else is the case."""
        try:
            return self.standing(federation, round_number=round_number, silo=silo, payload_digest=payload_digest)
        except (RoundMoved, ContributionConflict):
            return None

    def _commit(self, contribution: Contribution) -> Contribution:
        """The contribution that stands; another payload's, committed meanwhile, is answered as `standing` does."""
        header = contribution.header
        if not self._ledger.federation(header.federation).federation.admission.allow_repeats:
            replays.claim(self._ledger, header, contribution.silo)
        try:
            return self._ledger.commit_contribution(contribution)
        except ContributionConflict:
            self.standing(
                header.federation,
                round_number=header.round,
                silo=contribution.silo,
                payload_digest=header.payload_digest,
            )
            raise

    def _receive(self, push: PushCall, *, open_round: int) -> Receipt:
        header = header_from_proto(push.header)
        receipt = self.standing(
            header.federation,
            round_number=header.round,
            silo=push.silo,
            payload_digest=header.payload_digest,
        )
        if receipt is not None:
            return receipt
        require_running(self._ledger, header.federation, open_round=open_round)
        after = self._ledger.federation(header.federation).federation.admission.quarantine_after
        strikes.require_released(self._ledger.store, header.federation, push.silo, after=after)
        contribution = self._upload(push, header, open_round=open_round)
        push.require_enrolled()
        # an upload takes time; the operator may have acted
        require_running(self._ledger, header.federation, open_round=open_round)
        receipt = self._count(contribution)
        self._on_answer()
        self._meters.admitted(header.federation, l2_norm=receipt.l2_norm)
        log_event(
            _LOG,
            Event.DELTA_ADMITTED,
            federation=header.federation,
            round=header.round,
            silo=push.silo,
            sha256=header.payload_digest,
            num_examples=header.num_examples,
            l2_norm=receipt.l2_norm,
            size_bytes=header.payload_size_bytes,
        )
        return receipt

    def _count(self, contribution: Contribution) -> Receipt:
        """Commits what is staged, in the span that the cut's links to; its receipt."""
        header, silo = contribution.header, contribution.silo
        place = of_contribution(header.federation, header.round, silo=silo, payload_digest=header.payload_digest)
        with span("contribution", place, size_bytes=header.payload_size_bytes) as told:
            standing = self._commit(contribution)
            self._ledger.record_admission(standing)  # whether it counts or comes too late: the roster tells that
            receipt = counted(self._ledger, standing)
            told.tell(counted_in=receipt.counted_in, l2_norm=receipt.l2_norm)
            told.link(of_round(header.federation, receipt.counted_in))
        return receipt

    def _upload(self, push: PushCall, header: ContributionHeader, *, open_round: int) -> Contribution:
        """Judges the header, takes the payload in, judges it: a contribution that is staged and not yet committed."""
        with silo_span("delta.admission", header.federation, header.round, silo=push.silo):
            inspection = self._judge(push, header, open_round=open_round)
        identity = push_id(header.federation, header.round, silo=push.silo, payload_digest=header.payload_digest)
        upload = Upload(header.federation, header.round, push.silo, identity)
        with self._slots.upload(identity, silo=(header.federation, push.silo), call=push.call) as paced:
            self._require_allowances(upload, size_bytes=header.payload_size_bytes)
            session = UploadSession(self._ledger, upload, inspection, size_bytes=header.payload_size_bytes)
            chunks = self._meters.receiving(header.federation, paced(push.chunks))
            with silo_span("delta.staging", header.federation, header.round, silo=push.silo):
                admitted = session.receive(while_allowed(chunks, push.require_enrolled))
        return Contribution(
            silo=push.silo,
            header=header,
            segments=tuple(session.segments),
            data_start_bytes=admitted.layout.data_start,
            l2_norm=admitted.l2_norm,
            admitted_at=self._clock(),
            credential=push.credential.credential,
        )

    def _judge(self, push: PushCall, header: ContributionHeader, *, open_round: int) -> PayloadInspection:
        """Judges the header and its signature; what will judge the payload."""
        record = self._ledger.federation(header.federation)
        taken = record.federation.first_trained(open_round) <= header.round <= open_round
        base = self._ledger.manifest(header.federation, (header.round if taken else open_round) - 1)
        judge_header(
            header,
            federation=record.federation,
            spec=record.spec,
            round_number=open_round,
            base_digest=base.digest,
        )
        judge_signature(header, silo=push.silo, signing_key=push.credential.signing_key)
        self._judge_masks(push, header, record.federation)
        if not record.federation.admission.allow_repeats:
            replays.require_new(self._ledger, header, push.silo)
        return PayloadInspection(
            header,
            spec=record.spec,
            policy=record.federation.admission,
            read_base=None
            if record.federation.secure_aggregation
            else self._ledger.blob(header.federation, base.digest),
        )

    def _judge_masks(self, push: PushCall, header: ContributionHeader, federation: Federation) -> None:
        fixed = None
        if federation.secure_aggregation:
            fixed = masking.fixed_keys(self._ledger.store, header.federation, header.round)
            if fixed is None:
                raise HeaderInvalid(
                    f"The key roster of round {header.round} is not fixed yet; offer a key first (OfferKey).",
                    check="MASKS",
                )
        roster = fixed.roster if fixed else None
        judge_masks(header, silo=push.silo, signing_key=push.credential.signing_key, roster=roster)

    def _require_allowances(self, upload: Upload, *, size_bytes: int) -> None:
        committed_bytes = sum(one.size_bytes for one in self._ledger.committed_segments(upload))
        require_quota(
            self._allowances.quota,
            self._ledger.staged_total(upload.federation, upload.round, upload.silo),
            silo=upload.silo,
            committed_bytes=committed_bytes,
            size_bytes=size_bytes,
        )
        silo = (upload.federation, upload.silo)
        self._allowances.rate.begin(silo, upload.push_id, resumed=committed_bytes > 0)
        self._allowances.room.require(
            upload.federation, upload.push_id, wanted_bytes=max(0, size_bytes - committed_bytes)
        )

    def _record(self, push: PushCall, refusal: IsthmusError, *, open_round: int) -> None:
        """Puts the refusal on record under the open round, whatever round the header names."""
        now = self._clock()
        self._ledger.record_refusal(push.header.federation, open_round, push.silo, refusal=refusal, now=now)
        if strikes.is_hostile(refusal):
            self._strike(push, refusal, now=now)
        self._meters.refused(push.header.federation, refusal)
        known = self._ledger.federation(push.header.federation).spec.names
        log_event(
            _LOG,
            Event.DELTA_REFUSED,
            logging.WARNING,
            federation=push.header.federation,
            round=open_round,
            silo=push.silo,
            reason=refusal.reason,
            text=refusal.kept_text(known),
            **refusal.kept_details(known),
        )

    def _strike(self, push: PushCall, refusal: IsthmusError, *, now: datetime) -> None:
        """Counts a hostile payload; tells when it was the last one that the federation allows."""
        federation, store = push.header.federation, self._ledger.store
        after = self._ledger.federation(federation).federation.admission.quarantine_after
        before = strikes.standing(store, federation, push.silo).count if after else 0
        if before >= after:  # one that is barred fills no store
            return
        name = hashlib.sha256(push.header.payload_digest).hexdigest()  # what a silo sends need not be a digest
        count = strikes.strike(store, federation, push.silo, refusal=refusal, payload_name=name, now=now).count
        if count >= after:
            log_event(
                _LOG,
                Event.SILO_QUARANTINED,
                logging.WARNING,
                federation=federation,
                silo=push.silo,
                num_refused=count,
            )
        self._on_answer()
