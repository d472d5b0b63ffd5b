import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from isthmus.v1 import aggregator_pb2 as _aggregator_pb2
from isthmus.v1 import projector_pb2 as _projector_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateFederationRequest(_message.Message):
    __slots__ = ("definition", "chunk", "finish")
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    definition: FederationDefinition
    chunk: _projector_pb2.Chunk
    finish: _aggregator_pb2.PushFinish
    def __init__(self, definition: _Optional[_Union[FederationDefinition, _Mapping]] = ..., chunk: _Optional[_Union[_projector_pb2.Chunk, _Mapping]] = ..., finish: _Optional[_Union[_aggregator_pb2.PushFinish, _Mapping]] = ...) -> None: ...

class FederationDefinition(_message.Message):
    __slots__ = ("toml", "projector_digest", "projector_size_bytes")
    TOML_FIELD_NUMBER: _ClassVar[int]
    PROJECTOR_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROJECTOR_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    toml: bytes
    projector_digest: bytes
    projector_size_bytes: int
    def __init__(self, toml: _Optional[bytes] = ..., projector_digest: _Optional[bytes] = ..., projector_size_bytes: _Optional[int] = ...) -> None: ...

class CreateFederationResponse(_message.Message):
    __slots__ = ("federation", "spec", "created")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    federation: str
    spec: _projector_pb2.ProjectorSpec
    created: bool
    def __init__(self, federation: _Optional[str] = ..., spec: _Optional[_Union[_projector_pb2.ProjectorSpec, _Mapping]] = ..., created: bool = ...) -> None: ...

class SetFederationStateRequest(_message.Message):
    __slots__ = ("federation", "state", "reason")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    federation: str
    state: _aggregator_pb2.FederationState
    reason: str
    def __init__(self, federation: _Optional[str] = ..., state: _Optional[_Union[_aggregator_pb2.FederationState, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SetFederationStateResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: _aggregator_pb2.FederationState
    def __init__(self, state: _Optional[_Union[_aggregator_pb2.FederationState, str]] = ...) -> None: ...

class ListFederationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFederationsResponse(_message.Message):
    __slots__ = ("federations",)
    FEDERATIONS_FIELD_NUMBER: _ClassVar[int]
    federations: _containers.RepeatedCompositeFieldContainer[FederationSummary]
    def __init__(self, federations: _Optional[_Iterable[_Union[FederationSummary, _Mapping]]] = ...) -> None: ...

class FederationSummary(_message.Message):
    __slots__ = ("federation", "state", "round", "num_rounds", "num_silos")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    NUM_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    NUM_SILOS_FIELD_NUMBER: _ClassVar[int]
    federation: str
    state: _aggregator_pb2.FederationState
    round: int
    num_rounds: int
    num_silos: int
    def __init__(self, federation: _Optional[str] = ..., state: _Optional[_Union[_aggregator_pb2.FederationState, str]] = ..., round: _Optional[int] = ..., num_rounds: _Optional[int] = ..., num_silos: _Optional[int] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("federation",)
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    federation: str
    def __init__(self, federation: _Optional[str] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("summary", "waiting_for", "opened_at", "deadline", "silos", "spec", "latest", "num_contributions", "quorum", "max_staleness", "overdue", "abandoned_rounds", "num_abandoned_rounds", "cut_began_at", "trouble", "reverted_rounds", "num_reverted_rounds")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    SILOS_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    NUM_CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_FIELD_NUMBER: _ClassVar[int]
    OVERDUE_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    NUM_ABANDONED_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    CUT_BEGAN_AT_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    REVERTED_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    NUM_REVERTED_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    summary: FederationSummary
    waiting_for: str
    opened_at: _timestamp_pb2.Timestamp
    deadline: _timestamp_pb2.Timestamp
    silos: _containers.RepeatedCompositeFieldContainer[SiloStatus]
    spec: _projector_pb2.ProjectorSpec
    latest: _projector_pb2.ProjectorManifest
    num_contributions: int
    quorum: int
    max_staleness: int
    overdue: bool
    abandoned_rounds: _containers.RepeatedScalarFieldContainer[int]
    num_abandoned_rounds: int
    cut_began_at: _timestamp_pb2.Timestamp
    trouble: str
    reverted_rounds: _containers.RepeatedScalarFieldContainer[int]
    num_reverted_rounds: int
    def __init__(self, summary: _Optional[_Union[FederationSummary, _Mapping]] = ..., waiting_for: _Optional[str] = ..., opened_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., silos: _Optional[_Iterable[_Union[SiloStatus, _Mapping]]] = ..., spec: _Optional[_Union[_projector_pb2.ProjectorSpec, _Mapping]] = ..., latest: _Optional[_Union[_projector_pb2.ProjectorManifest, _Mapping]] = ..., num_contributions: _Optional[int] = ..., quorum: _Optional[int] = ..., max_staleness: _Optional[int] = ..., overdue: bool = ..., abandoned_rounds: _Optional[_Iterable[int]] = ..., num_abandoned_rounds: _Optional[int] = ..., cut_began_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trouble: _Optional[str] = ..., reverted_rounds: _Optional[_Iterable[int]] = ..., num_reverted_rounds: _Optional[int] = ...) -> None: ...

class SiloStatus(_message.Message):
    __slots__ = ("silo", "active", "receipt", "last_refusal", "num_contributions", "waited_for_since", "spiffe_id", "quarantined")
    SILO_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    LAST_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    NUM_CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    WAITED_FOR_SINCE_FIELD_NUMBER: _ClassVar[int]
    SPIFFE_ID_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    silo: str
    active: bool
    receipt: _projector_pb2.Receipt
    last_refusal: str
    num_contributions: int
    waited_for_since: _timestamp_pb2.Timestamp
    spiffe_id: str
    quarantined: bool
    def __init__(self, silo: _Optional[str] = ..., active: bool = ..., receipt: _Optional[_Union[_projector_pb2.Receipt, _Mapping]] = ..., last_refusal: _Optional[str] = ..., num_contributions: _Optional[int] = ..., waited_for_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., spiffe_id: _Optional[str] = ..., quarantined: bool = ...) -> None: ...

class InviteSiloRequest(_message.Message):
    __slots__ = ("federation", "silo", "replace", "valid_seconds")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    SILO_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    VALID_SECONDS_FIELD_NUMBER: _ClassVar[int]
    federation: str
    silo: str
    replace: bool
    valid_seconds: int
    def __init__(self, federation: _Optional[str] = ..., silo: _Optional[str] = ..., replace: bool = ..., valid_seconds: _Optional[int] = ...) -> None: ...

class InviteSiloResponse(_message.Message):
    __slots__ = ("secret", "expires_at", "enrolment_port", "authorities_pem")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ENROLMENT_PORT_FIELD_NUMBER: _ClassVar[int]
    AUTHORITIES_PEM_FIELD_NUMBER: _ClassVar[int]
    secret: bytes
    expires_at: _timestamp_pb2.Timestamp
    enrolment_port: int
    authorities_pem: str
    def __init__(self, secret: _Optional[bytes] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., enrolment_port: _Optional[int] = ..., authorities_pem: _Optional[str] = ...) -> None: ...

class RevokeSiloRequest(_message.Message):
    __slots__ = ("federation", "silo")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    SILO_FIELD_NUMBER: _ClassVar[int]
    federation: str
    silo: str
    def __init__(self, federation: _Optional[str] = ..., silo: _Optional[str] = ...) -> None: ...

class RevokeSiloResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReleaseSiloRequest(_message.Message):
    __slots__ = ("federation", "silo")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    SILO_FIELD_NUMBER: _ClassVar[int]
    federation: str
    silo: str
    def __init__(self, federation: _Optional[str] = ..., silo: _Optional[str] = ...) -> None: ...

class ReleaseSiloResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProjectorsRequest(_message.Message):
    __slots__ = ("federation", "first_number")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    federation: str
    first_number: int
    def __init__(self, federation: _Optional[str] = ..., first_number: _Optional[int] = ...) -> None: ...

class ListProjectorsResponse(_message.Message):
    __slots__ = ("projectors", "next_number")
    PROJECTORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    projectors: _containers.RepeatedCompositeFieldContainer[_projector_pb2.ProjectorManifest]
    next_number: int
    def __init__(self, projectors: _Optional[_Iterable[_Union[_projector_pb2.ProjectorManifest, _Mapping]]] = ..., next_number: _Optional[int] = ...) -> None: ...

class ExportProjectorRequest(_message.Message):
    __slots__ = ("federation", "number", "offset_bytes")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    federation: str
    number: int
    offset_bytes: int
    def __init__(self, federation: _Optional[str] = ..., number: _Optional[int] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class ExportProjectorResponse(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: _projector_pb2.ProjectorManifest
    chunk: _projector_pb2.Chunk
    def __init__(self, header: _Optional[_Union[_projector_pb2.ProjectorManifest, _Mapping]] = ..., chunk: _Optional[_Union[_projector_pb2.Chunk, _Mapping]] = ...) -> None: ...
