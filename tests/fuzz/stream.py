"""Fuzz target: streams of pushes, sent at the real service of two replicas over one store in memory.

An input is a story: silos push deltas in parts that may be wrong, break off, and are resumed at another replica, while
replicas restart and the operator acts; a stream may be overtaken by anything between two of its parts. Only gRPC is
left out: the service gets the messages that gRPC would give it. `tests.fuzz.stream_model` says what must come of it.
"""

import math
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import grpc

import aggregator.rpc.identity
import aggregator.rpc.incoming
from aggregator.advance import Published, advance
from aggregator.ledger import Ledger, strikes
from aggregator.ledger.documents import Upload
from isthmus.contribution import ContributionHeader, push_id
from isthmus.errors import IsthmusError
from isthmus.federation import FederationState
from isthmus.status import status_of
from isthmus.v1 import aggregator_pb2
from isthmus.wire import header_to_proto
from tests.fuzz.stream_model import RECEIPT, Model
from tests.fuzz.stream_parts import BENDS, PAYLOADS, Part, header_of
from tests.fuzz.stream_service import FEDERATION, SILOS, Replica, founded
from tests.fuzz.tape import Tape
from tests.ledgers import after
from tests.serving import FINISH, chunk_part

WORDS = (b"\0\0\0\0\0\0\3", b"\0\1\0\0\0\0\3", b"\0\2\0\0\0\x40\6", b"\7\0\0\0\0\0\x40\6", b"\7\6", b"\0\0\3")
"""A whole push, by two silos; one that breaks off; one that comes between; a cut that does; the rest of a push."""

MAX_ACTS = 24
"""Of one story; streams that come between two parts of another included."""

MAX_PARTS = 32
"""Of one stream."""

SEGMENT_BYTES, MAX_SEGMENTS = 64, 3
"""So that a payload of some 200 bytes has several segments, and resumes join them."""


def run(data: bytes) -> None:
    """Tells the story of this input to the service and to the model, and compares them after every act."""
    with (
        patch.object(aggregator.rpc.incoming, "SEGMENT_BYTES", SEGMENT_BYTES),
        patch.object(aggregator.rpc.incoming, "max_segments", lambda size_bytes: MAX_SEGMENTS),
        patch.object(aggregator.rpc.identity, "RECHECK_SECONDS", math.inf),  # on a busy machine too
    ):
        _Story(Tape(data)).tell()


def seeds() -> Iterator[bytes]:
    """Stories to begin with; `_Story` says what the bytes mean."""
    for payload in range(len(PAYLOADS)):
        yield _push(payload=payload)
    for bend in range(1, len(BENDS)):
        yield _push(bend=bend)
    yield from (_push() + then for then in (_push(), _push(payload=1), _push(1), _CUT + _push() + _push(4) + _CUT))
    yield from (
        _push(parts=bytes([0, 70, *odd])) for odd in ((2, 129), (2, 27), (4,), (5,), (3,), (1, 1, 70), (0, 255, 0, 9))
    )
    yield _push(parts=_BREAKS) + _push(2, parts=_BREAKS) + b"\5\0" + _push()
    yield _push(parts=bytes([0, 30, 6])) * 6 + _push()
    yield from (_push(parts=bytes([0, 70, 7]) + between + _REST) for between in _BETWEEN)
    yield _push(parts=_BREAKS) + b"\1" + _push() + b"\2\0" + _push() + b"\2\3" + _push(1)
    yield b"".join(_push(1, payload=payload) for payload in (2, 3, 4, 0)) + b"\4\1" + _push(1)


def _push(who: int = 0, *, payload: int = 0, bend: int = 0, parts: bytes = b"\0\0\3") -> bytes:
    """The bytes of a push. `who`: 1 the second silo, 2 the second replica, 4 the first round, added up."""
    return bytes([0, who, payload, bend]) + parts


_CUT, _BREAKS, _REST = b"\6", bytes([0, 70, 6]), bytes([0, 0, 3])
_BETWEEN = (
    _push(parts=bytes([0, 90, 6])),
    _push(parts=bytes([0, 70, 1, 2, 90, 3])),
    _push(),
    _push(1),
    _push(1, payload=1) + b"\7\6",
    _push(payload=1),
    b"\1",
    b"\2\3",
)
"""What may come between two parts of a push."""


class _Cut(grpc.RpcError):
    """What reading the next message raises when the caller has gone."""


class _Story:
    """One run: a store, its replicas, and the model of what they must say."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._store = founded()
        self._ledger = Ledger(self._store)
        self._replicas = [Replica(self._store), Replica(self._store)]
        self._model = Model(self._ledger)
        self._left = MAX_ACTS

    def tell(self) -> None:
        """All acts, one after the other; what the store then holds is compared after each."""
        while not self._tape.is_over and self._left:
            self._act()
            self._model.require_stored()

    def _act(self, *, within: int | None = None) -> None:
        """The next act: 1 pause, 2 resume or revoke, 4 release, 5 restart, 6 cut the round; else a push.

        Args:
            within: It comes between two parts of a stream at this replica. A push then goes to the other one, where it
                need not wait until that stream has ended.
        """
        self._left -= 1
        match self._tape.byte(8):
            case 1:
                self._set_state(FederationState.PAUSED)
            case 2:
                self._resume_or_revoke()
            case 4:
                silo = SILOS[self._tape.byte(len(SILOS))]
                strikes.release(self._store, FEDERATION, silo, now=after(2))
                self._model.release(silo)
            case 5:
                replica = self._tape.byte(2)
                if replica != within:
                    self._replicas[replica] = Replica(self._store)
            case 6:
                self._cut()
            case _:
                self._push(within=within)

    def _resume_or_revoke(self) -> None:
        if self._tape.byte(4) < 3:
            self._set_state(FederationState.RUNNING)
        else:
            self._ledger.revoke(FEDERATION, SILOS[1])
            self._model.revoke(SILOS[1])

    def _set_state(self, state: FederationState) -> None:
        self._ledger.set_state(FEDERATION, state, reason="", now=after(2))
        self._model.set_paused(state is FederationState.PAUSED)

    def _cut(self) -> None:
        """Has a replica cut the round and publish, when it is due."""
        now = after(1000.0 * (1 + self._model.open_round))
        outcome = advance(self._ledger, FEDERATION, now=now, memory_budget_bytes=16 << 20, scratch=_scratch())
        self._model.cut(outcome.roster.silos if isinstance(outcome, Published) else None)

    def _push(self, *, within: int | None) -> None:
        who = self._tape.byte(8)
        silo, replica = SILOS[who & 1], who >> 1 & 1 if within is None else 1 - within
        payload, bend = PAYLOADS[self._tape.byte(len(PAYLOADS))], BENDS[self._tape.byte(len(BENDS))]
        round_number = 1 if who & 4 else self._model.open_round
        header = header_of(payload, bend, self._ledger, round_number=round_number, silo=silo)
        identity = push_id(header.federation, header.round, silo=silo, payload_digest=header.payload_digest)
        stream = self._model.begin(header, Upload(FEDERATION, header.round, silo, identity), bend)
        parts = self._parts(payload, position=len(stream.start), replica=replica, is_between=within is not None)
        answer = self._answer(silo, header, parts=parts, replica=replica, read=stream.parts)
        assert (expected := self._model.end(stream)) == answer, f"{expected} was due to {stream}, and {answer} came"
        may_ask = (
            silo not in self._model.revoked and header.federation == FEDERATION and len(header.payload_digest) == 32
        )
        for one in self._replicas if may_ask else ():
            durable = one.committed_bytes(silo, header)
            assert self._model.may_have_committed(stream, durable), f"{durable} bytes are durable after {stream}"

    def _answer(
        self, silo: str, header: ContributionHeader, *, parts: Iterator[Part], replica: int, read: list[Part]
    ) -> str:
        """What the service answers, by name, to a stream of which it reads as many parts as it likes."""

        def messages() -> Iterator[aggregator_pb2.PushDeltaRequest]:
            yield aggregator_pb2.PushDeltaRequest(header=header_to_proto(header))
            for part in parts:
                read.append(part)
                if part.kind == "cut":
                    raise _Cut
                if part.kind == "between":
                    self._act(within=replica)
                elif part.kind != "end":
                    yield _message(part, header)

        try:
            receipt = self._replicas[replica].push(silo, messages())
        except IsthmusError as error:
            status_of(error)  # whatever is told travels
            return type(error).__name__
        except _Cut:
            return "cut"
        assert (silo, header.payload_digest) == (receipt.silo, receipt.payload_digest)
        return RECEIPT

    def _parts(self, payload: bytes, *, position: int, replica: int, is_between: bool) -> Iterator[Part]:
        """The parts, made while they are read.

        3 finish, 5 what has no place there, 6 the caller goes, 7 an act between; else a chunk: 1 of another payload, 2
        from another offset, 4 empty.
        """
        for _ in range(MAX_PARTS):
            if self._tape.is_over:
                break
            kind = self._tape.byte(8)
            if kind in (3, 5, 6):
                yield Part({3: "finish", 5: "odd", 6: "cut"}[kind])
            elif kind == 7:
                if self._left and not is_between:
                    yield Part("between")
            else:
                source = PAYLOADS[self._tape.byte(len(PAYLOADS))] if kind == 1 else payload
                shift = self._tape.byte() - 128 if kind == 2 else 0
                size = 0 if kind == 4 else self._tape.byte() or len(source)
                data = source[position : position + size]
                yield Part("chunk", max(0, position + shift), data)
                position += len(data)
        yield Part("end")


def _message(part: Part, header: ContributionHeader) -> aggregator_pb2.PushDeltaRequest:
    """A part as it travels; one that has no place after the first is another header."""
    if part.kind == "chunk":
        return chunk_part(part.offset, part.data)
    return FINISH if part.kind == "finish" else aggregator_pb2.PushDeltaRequest(header=header_to_proto(header))


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="isthmus-fuzz-"))
