"""Parsers and services that are wrong in one way, each of which a target must find."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from unittest.mock import patch

import aggregator.admission.payload
import aggregator.rpc.incoming
import aggregator.rpc.pushes
import isthmus.payload_header
import isthmus.strict_json
from aggregator.ledger import Ledger
from aggregator.rpc.incoming import PartMessage
from isthmus.v1 import projector_pb2


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong thing.

    Attributes:
        target: Who must find it.
        symptom: Words of what it finds.
        made: While it is entered, the code is wrong.
    """

    target: str
    made: Callable[[], AbstractContextManager[object]]
    symptom: str = "AssertionError"


def _any_place(entries, expected, layout, *, payload_size_bytes):
    """Takes tensors wherever the header puts them."""


def _ends_anyhow(messages: Iterator[PartMessage]) -> Iterator[projector_pb2.Chunk]:
    """Takes the end of a stream for its finish."""
    for message in messages:
        if message.WhichOneof("part") == "finish":
            return
        yield message.chunk


def _any_offset(offset_bytes: int, num_bytes: int, *, committed_bytes: int, size_bytes: int) -> None:
    """Takes a chunk one byte further on, too, and an empty one."""
    if offset_bytes != committed_bytes + 1:
        _REQUIRE_NEXT(offset_bytes, num_bytes, committed_bytes=committed_bytes, size_bytes=size_bytes)


def _stages_first(self, offset_bytes, data):
    """Makes a chunk durable before it is judged."""
    with patch.object(self._inspection, "feed"):
        self._judge_and_hold(memoryview(data))
        self._stage()
    self._inspection.feed(data)


_REQUIRE_NEXT = aggregator.rpc.incoming.require_next
_INSPECTION = aggregator.admission.payload.PayloadInspection
_LENIENT = json.JSONDecoder(parse_int=isthmus.strict_json._integer, parse_constant=isthmus.strict_json._constant)

MUTANTS: dict[str, Mutant] = {
    "a key may come twice": Mutant("header", lambda: patch.object(isthmus.strict_json, "_DECODER", _LENIENT)),
    "tensors may lie anywhere": Mutant(
        "header", lambda: patch.object(isthmus.payload_header, "_require_places", _any_place)
    ),
    "JSON's errors come out as they are": Mutant(
        "header", lambda: patch.object(isthmus.strict_json, "_not_json", lambda what: ValueError(what)), "ValueError"
    ),
    "a stream's end is as good as its finish": Mutant(
        "stream",
        lambda: patch.object(aggregator.rpc.service, "chunks_until_finish", _ends_anyhow),
        "FinishMissing was due",
    ),
    "a chunk may begin one byte later": Mutant(
        "stream",
        lambda: patch.object(aggregator.rpc.incoming, "require_next", _any_offset),
        "read after OffsetMismatch",
    ),
    "bytes are stored before they are judged": Mutant(
        "stream",
        lambda: patch.object(aggregator.rpc.incoming.UploadSession, "_take", _stages_first),
        "holds what was never taken",
    ),
    "bytes are not compared with their digest": Mutant(
        "stream",
        lambda: patch.object(_INSPECTION, "_require_digest", lambda self: None),
        "PayloadDigestMismatch was due",
    ),
    "wrong bytes stay staged": Mutant(
        "stream", lambda: patch.object(Ledger, "drop_upload", lambda self, upload: None), "bytes are durable after"
    ),
    "a pause during an upload is not seen": Mutant(
        "stream",
        lambda: patch.object(aggregator.rpc.pushes, "require_running", lambda ledger, federation, **more: None),
        "FederationPaused was due",
    ),
    "nobody asks who brought the bytes before": Mutant(
        "stream",
        lambda: patch.object(aggregator.rpc.pushes.replays, "_may_count", lambda *arguments: False),
        "DeltaReplayed",
    ),
    "a certificate's extensions may come twice": Mutant(
        "foreign", lambda: patch.object(isthmus.certificates, "_MALFORMED", (ValueError,)), "Extension"
    ),
}
