"""What must come of a stream: the protocol's promises about pushes, said again in a few lines, for one thread.

Knows what was answered to whom; not how anything is stored. What admission says of a payload's bytes it asks admission
itself, which `tests.fuzz.header` and the tests of admission judge.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from aggregator.admission.payload import PayloadInspection
from aggregator.ledger import Ledger, keys
from aggregator.ledger.documents import Upload
from isthmus import errors
from isthmus.contribution import ContributionHeader
from tests.fuzz.stream_parts import Bend, Part
from tests.fuzz.stream_service import FEDERATION, ROUNDS, SILOS

RECEIPT = "Receipt"
QUARANTINE_AFTER = 3


@dataclass(slots=True)
class Stream:
    """One push under way.

    Attributes:
        header: As it is sent.
        upload: Names its bytes.
        start: What was durable of it when it began.
        answer: What it must be answered before a part is read; "": it may begin.
        parts: What was read of it.
        drops: How often the upload had been dropped when it began.
        taken: The bytes that the service had to take.
    """

    header: ContributionHeader
    upload: Upload
    start: bytes
    answer: str
    drops: int
    parts: list[Part] = field(default_factory=list)
    taken: bytes = b""

    @property
    def was_overtaken(self) -> bool:
        """Whether something came between two of its parts."""
        return any(part.kind == "between" for part in self.parts)


class Model:
    """What was promised so far.

    Args:
        ledger: To read what is durable, and the projectors.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._is_paused = False
        self._contributed: dict[tuple[int, str], tuple[bytes, int]] = {}
        self._rosters: dict[int, Sequence[str]] = {}
        self._claims: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
        self._strikes: dict[str, set[bytes]] = defaultdict(set)
        self._drops: dict[Upload, int] = defaultdict(int)
        self._taken: dict[Upload, list[bytes]] = defaultdict(list)
        self._checked: set[str] = set()
        self.revoked: set[str] = set()
        self.open_round = 1

    def set_paused(self, is_paused: bool) -> None:
        """The operator pauses the federation, or resumes it."""
        self._is_paused = is_paused

    def revoke(self, silo: str) -> None:
        """The operator bars a silo."""
        self.revoked.add(silo)

    def release(self, silo: str) -> None:
        """The operator ends a quarantine."""
        self._strikes[silo].clear()

    def cut(self, silos: Sequence[str] | None) -> None:
        """A replica looked whether the round is due; `silos`: whose deltas it counted, None: it was not."""
        present = tuple(silo for silo in SILOS if (self.open_round, silo) in self._contributed)
        is_due = bool(present) and not self._is_paused and self.open_round <= ROUNDS
        assert silos == (present if is_due else None)
        if silos is not None:
            self._rosters[self.open_round] = silos
            self.open_round += 1

    def begin(self, header: ContributionHeader, upload: Upload, bend: Bend) -> Stream:
        """A stream that begins: what must be answered at once, if anything."""
        answer = self._answer_to(header, upload.silo, bend)
        self._count_strike(answer, header, upload.silo)
        segments = self._ledger.committed_segments(upload)
        start = b"".join(map(self._ledger.read_segment, segments))
        return Stream(header, upload, start, answer, self._drops[upload])

    def end(self, stream: Stream) -> str:
        """What must have been answered to a stream, of which `parts` were read."""
        if stream.answer:
            assert not stream.parts, f"{stream.answer}, and yet {stream.parts} were read"
            return stream.answer
        answer, stream.taken = self._after_parts(stream)
        self._taken[stream.upload].append(stream.taken)
        if answer == RECEIPT:
            answer = self._commit(stream.header, stream.upload.silo)
        elif _is_refusal(answer):
            self._drops[stream.upload] += 1
        self._count_strike(answer, stream.header, stream.upload.silo)
        return answer

    def may_have_committed(self, stream: Stream, size_bytes: int) -> bool:
        """Whether so many bytes may be durable after a stream, as its silo is told."""
        key = (stream.upload.round, stream.upload.silo)
        digest, whole = self._contributed.get(key, (b"", 0))
        if digest == stream.header.payload_digest and self._is_counted(*key):
            return size_bytes == whole
        if stream.upload.round < self.open_round:  # over, and swept
            return True
        if stream.was_overtaken:
            is_dropped = self._drops[stream.upload] > stream.drops
            return (0 if is_dropped else len(stream.start)) <= size_bytes <= stream.header.payload_size_bytes
        if self._drops[stream.upload] > stream.drops:
            return size_bytes == 0
        if stream.answer or not self._inspection(stream.header, stream.taken).may_be_kept:
            return size_bytes == len(stream.start)
        return size_bytes == len(stream.taken)

    def require_stored(self) -> None:
        """Checks what the store holds: those contributions, whole; of each push only bytes that were taken."""
        rounds = range(1, ROUNDS + 2)
        stored = {(number, silo) for number in rounds for silo in self._ledger.contributors(FEDERATION, number)}
        assert stored == self._contributed.keys()
        for (number, silo), (digest, size_bytes) in self._contributed.items():
            contribution = self._ledger.contribution(FEDERATION, number, silo)
            assert contribution is not None
            if self._is_counted(number, silo):
                payload = self._ledger.payload(contribution)(0, size_bytes)
                assert (digest, size_bytes) == (
                    hashlib.sha256(payload).digest(),
                    contribution.header.payload_size_bytes,
                )
        for upload, taken in self._taken.items():
            prefix = keys.uploads_of(FEDERATION, upload.round, upload.silo)
            for key, _ in self._ledger.store.list(f"{prefix}/{upload.push_id}"):
                self._require_taken(key, taken)

    def _require_taken(self, key: str, taken: list[bytes]) -> None:
        name = key.rpartition("/")[2]
        if name.startswith(keys.DROPPED) or key in self._checked:
            return
        offset, data = keys.named_by(key)[0], self._ledger.store.get(key)
        assert any(whole[offset : offset + len(data)] == data for whole in taken), f"{key} holds what was never taken"
        self._checked.add(key)

    def _answer_to(self, header: ContributionHeader, silo: str, bend: Bend) -> str:
        """What is answered before a part is read; "": nothing is."""
        if header.federation != FEDERATION:
            return "FederationUnknown"
        if silo in self.revoked:
            return "SiloNotEnrolled"
        standing = self._standing(header, silo)
        if standing:
            return standing
        if self.open_round > ROUNDS:
            return "FederationFinished"
        if self._is_paused:
            return "FederationPaused"
        if len(self._strikes[silo]) >= QUARANTINE_AFTER:
            return "SiloQuarantined"
        if bend.is_form:
            return bend.error
        if header.round < self.open_round:
            return "RoundClosed"
        if bend.error:
            return bend.error
        return "DeltaReplayed" if self._is_replay(header, silo) else ""

    def _standing(self, header: ContributionHeader, silo: str) -> str:
        """What a silo is told that contributed to this round before; "": it did not."""
        digest, _ = self._contributed.get((header.round, silo), (b"", 0))
        if not digest:
            return ""
        if not self._is_counted(header.round, silo):
            return "RoundClosed"
        return RECEIPT if digest == header.payload_digest else "ContributionConflict"

    def _is_counted(self, round_number: int, silo: str) -> bool:
        """Whether a contribution that is there is counted, or will be."""
        return round_number == self.open_round or silo in self._rosters.get(round_number, ())

    def _is_replay(self, header: ContributionHeader, silo: str) -> bool:
        claims = self._claims[header.payload_digest]
        if (silo, header.round) in claims:
            return False
        return any(self._may_count(header.payload_digest, *claim) for claim in claims)

    def _may_count(self, payload_digest: bytes, silo: str, round_number: int) -> bool:
        digest, _ = self._contributed.get((round_number, silo), (payload_digest, 0))
        return digest == payload_digest and self._is_counted(round_number, silo)

    def _after_parts(self, stream: Stream) -> tuple[str, bytes]:
        """What the parts come to (a receipt: all is right with the payload itself), and the bytes taken."""
        data = stream.start
        answer = self._refusal(stream.header, data) if data else ""
        for part in stream.parts:
            assert not answer, f"{part.kind} was read after {answer}"
            if part.kind == "chunk":
                answer = self._misplaced(stream.header, part, position=len(data))
                if not answer and (answer := self._refusal(stream.header, data + part.data)):
                    self._taken[stream.upload].append(self._let_in(stream.header, data + part.data))
                data += b"" if answer else part.data
            elif part.kind == "finish":
                answer = self._finished(stream.header, data)
            elif part.kind != "between":
                answer = {"odd": "HeaderInvalid", "cut": "cut", "end": "FinishMissing"}[part.kind]
        assert answer, "the service stopped reading without a reason"
        return answer, data

    def _misplaced(self, header: ContributionHeader, part: Part, *, position: int) -> str:
        if not part.data:
            return "PayloadMalformed"
        if part.offset != position:
            return "OffsetMismatch"
        return "PayloadTooLarge" if position + len(part.data) > header.payload_size_bytes else ""

    def _inspection(self, header: ContributionHeader, data: bytes) -> PayloadInspection:
        record = self._ledger.federation(FEDERATION)
        inspection = PayloadInspection(
            header,
            spec=record.spec,
            policy=record.federation.admission,
            read_base=self._ledger.blob(FEDERATION, header.base_digest),
        )
        inspection.feed(data)
        return inspection

    def _refusal(self, header: ContributionHeader, data: bytes) -> str:
        """What admission refuses a payload with that begins so; "": nothing yet."""
        try:
            self._inspection(header, data)
        except errors.RefusedDelta as refusal:
            return type(refusal).__name__
        return ""

    def _let_in(self, header: ContributionHeader, data: bytes) -> bytes:
        """How far admission goes along: a segment that ends within a chunk is stored before the rest is judged."""
        return next(data[:end] for end in range(len(data), -1, -1) if not self._refusal(header, data[:end]))

    def _finished(self, header: ContributionHeader, data: bytes) -> str:
        if len(data) < header.payload_size_bytes:
            return "Incomplete"
        if hashlib.sha256(data).digest() != header.payload_digest:
            return "PayloadDigestMismatch"
        try:
            self._inspection(header, data).finish()
        except errors.RefusedDelta as refusal:
            return type(refusal).__name__
        return RECEIPT

    def _commit(self, header: ContributionHeader, silo: str) -> str:
        """What a push comes to whose payload is right, as things stand when all of it is there."""
        if silo in self.revoked:
            return "SiloNotEnrolled"
        if self._is_paused:
            return "FederationPaused"
        if self._is_replay(header, silo):
            return "DeltaReplayed"
        self._claims[header.payload_digest].append((silo, header.round))
        self._contributed.setdefault((header.round, silo), (header.payload_digest, header.payload_size_bytes))
        return self._standing(header, silo)

    def _count_strike(self, answer: str, header: ContributionHeader, silo: str) -> None:
        if (_is_refusal(answer) or answer == "DeltaReplayed") and len(self._strikes[silo]) < QUARANTINE_AFTER:
            self._strikes[silo].add(header.payload_digest)


def _is_refusal(answer: str) -> bool:
    return issubclass(getattr(errors, answer, object), errors.RefusedDelta)
