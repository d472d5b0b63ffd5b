"""A federation on its way in: its TOML judged, its initial projector received into a scratch file and judged.

Nothing is stored before all of it is right.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aggregator.aggregate import check_strategy
from aggregator.ledger import Ledger, keys
from aggregator.ledger.acts import Act
from aggregator.ledger.records import FederationRecord
from aggregator.rpc.incoming import chunks_until_finish
from aggregator.rules import check_encoding, check_rule
from aggregator.server_optimizers import build_server_optimizer
from aggregator.stores import exists
from aggregator.stores.aside import aside
from isthmus.chunks import require_next, spans
from isthmus.contribution import Encoding
from isthmus.errors import (
    DeltaNotFinite,
    FederationInvalid,
    Incomplete,
    PayloadDigestMismatch,
    PayloadTooLarge,
    StoreUnavailable,
)
from isthmus.federation import MAX_TOML_BYTES, Federation, parse_federation
from isthmus.logs import Event
from isthmus.payload import MAX_HEADER_BYTES, PREFIX_BYTES, layout
from isthmus.payload_header import parse_header, read_spec
from isthmus.spec import ProjectorSpec
from isthmus.spiffe import SpiffeId
from isthmus.v1 import admin_pb2

_BLOCK_BYTES = 1 << 20


class Creation:
    """Takes federations in.

    Args:
        ledger: Where they are created.
        scratch: An existing folder for the projector while it arrives.
        max_projector_bytes: Largest initial projector.
    """

    def __init__(self, ledger: Ledger, *, scratch: Path, max_projector_bytes: int) -> None:
        self._ledger = ledger
        self._scratch = scratch
        self._max_projector_bytes = max_projector_bytes

    def receive(
        self,
        definition: admin_pb2.FederationDefinition,
        messages: Iterator[admin_pb2.CreateFederationRequest],
        *,
        actor: SpiffeId,
        alive: Callable[[], None],
        now: datetime,
    ) -> tuple[FederationRecord, bool]:
        """The federation that stands, and whether this call created it.

        Args:
            definition: The stream's first part.
            messages: The rest of it.
            actor: Who asks for it: on record before it is created.
            alive: Called at every chunk.
            now: When it is created.

        Raises:
            FederationInvalid: The TOML is wrong, or its strategy cannot be carried out; see `check_strategy`.
            FederationExists: One of that name exists with another content.
            PayloadMalformed, PayloadTooLarge, PayloadDigestMismatch, SpecMismatch, DeltaNotFinite: The initial
                projector is wrong.
            FinishMissing, Incomplete, OffsetMismatch: Not all of it came; nothing is kept, create again.
            StoreUnavailable: The store or the scratch folder cannot be written.
        """
        toml = _text(definition.toml)
        federation = judged(toml)
        self._require_size(definition.projector_size_bytes)
        try:
            with aside(self._scratch) as file:
                _receive(messages, definition, file=file, alive=alive)
                spec = _judge_projector(file, federation, size_bytes=definition.projector_size_bytes)
                check_strategy(federation, spec)
                self._put_on_record(federation.name, actor, now=now)
                created = self._ledger.create_federation(toml, federation, spec, projector=Path(file.name), now=now)
        except OSError as error:
            raise StoreUnavailable(
                f"The aggregator's scratch folder cannot take the initial projector ({error.strerror}). "
                "Its operator must make room in it.",
                retry_after_seconds=5.0,
            ) from error
        return self._ledger.federation(federation.name), created

    def _put_on_record(self, name: str, actor: SpiffeId, *, now: datetime) -> None:
        """Records that it was asked for, unless there is one: a repeat of a creation that died here records it anew."""
        if not exists(self._ledger.store, keys.federation_file(name)):
            self._ledger.record_act(name, Act(at=now, actor=str(actor), event=Event.FEDERATION_CREATED.value))

    def _require_size(self, size_bytes: int) -> None:
        if not 1 <= size_bytes <= self._max_projector_bytes:
            raise PayloadTooLarge(
                f"The initial projector is announced with {size_bytes} bytes; this aggregator takes 1 to "
                f"{self._max_projector_bytes} (limits.max_projector_bytes).",
                check="projector_size",
                measured=size_bytes,
                limit=self._max_projector_bytes,
            )


def judged(toml: str) -> Federation:
    """The federation of this TOML, its strategy known here.

    Raises:
        FederationInvalid: A key is wrong, a rule, server optimizer or one of their options does not exist, or a round
            may be cut with fewer contributions than its rule needs; or its rule makes nothing of its encoding.
    """
    federation = parse_federation(toml)
    check_rule(federation.strategy.rule, federation.participation, pre_steps=federation.strategy.pre_steps)
    check_encoding(federation.strategy, federation.encoding)
    build_server_optimizer(federation.strategy.server_optimizer)
    return federation


def _text(toml: bytes) -> str:
    if len(toml) > MAX_TOML_BYTES:
        raise FederationInvalid(f"The federation's file has {len(toml)} bytes; at most {MAX_TOML_BYTES} are taken.")
    try:
        return toml.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FederationInvalid(f"The federation's file is not UTF-8: byte {error.start} is wrong.") from error


def _receive(
    messages: Iterator[admin_pb2.CreateFederationRequest],
    definition: admin_pb2.FederationDefinition,
    *,
    file: BinaryIO,
    alive: Callable[[], None],
) -> None:
    """Writes the stream's chunks to the file; returns when it holds the announced bytes."""
    size_bytes, digest, position = definition.projector_size_bytes, hashlib.sha256(), 0
    for chunk in chunks_until_finish(messages):
        alive()
        require_next(chunk.offset_bytes, len(chunk.data), committed_bytes=position, size_bytes=size_bytes)
        file.write(chunk.data)
        digest.update(chunk.data)
        position += len(chunk.data)
    file.flush()
    if position != size_bytes:
        raise Incomplete(
            f"The initial projector ended at byte {position} of {size_bytes}. Nothing is kept; create it again.",
            committedBytes=0,
        )
    if digest.digest() != definition.projector_digest:
        raise PayloadDigestMismatch(
            "The initial projector's bytes do not have the digest that was announced for them. Create it again.",
            check="projector_digest",
            measured=digest.hexdigest(),
            limit=definition.projector_digest.hex(),
        )


def _judge_projector(file: BinaryIO, federation: Federation, *, size_bytes: int) -> ProjectorSpec:
    """The spec of the projector in the file, all its values finite."""
    file.seek(0)
    head = file.read(PREFIX_BYTES + MAX_HEADER_BYTES)
    spec = read_spec(head, payload_size_bytes=size_bytes)
    layout(spec, federation.encoding)  # raises when deltas in this encoding could have no header
    placed = parse_header(head, spec, Encoding.FP32, payload_size_bytes=size_bytes)
    for span in placed.tensors:
        file.seek(placed.data_start + span.start)
        for _, num_bytes in spans(span.start, span.end, step=_BLOCK_BYTES):
            if not np.isfinite(np.frombuffer(file.read(num_bytes), dtype="<f4")).all():
                raise DeltaNotFinite(
                    f"Tensor {span.tensor.name} of the initial projector holds NaN or infinity. Make it anew.",
                    tensor=span.tensor.name,
                    check="finite",
                )
    return spec
