import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from isthmus.v1 import projector_pb2 as _projector_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FederationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEDERATION_STATE_UNSPECIFIED: _ClassVar[FederationState]
    FEDERATION_STATE_RUNNING: _ClassVar[FederationState]
    FEDERATION_STATE_PAUSED: _ClassVar[FederationState]
    FEDERATION_STATE_FINISHED: _ClassVar[FederationState]
FEDERATION_STATE_UNSPECIFIED: FederationState
FEDERATION_STATE_RUNNING: FederationState
FEDERATION_STATE_PAUSED: FederationState
FEDERATION_STATE_FINISHED: FederationState

class GetRoundRequest(_message.Message):
    __slots__ = ("federation", "after_round", "wait")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    AFTER_ROUND_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    federation: str
    after_round: int
    wait: _duration_pb2.Duration
    def __init__(self, federation: _Optional[str] = ..., after_round: _Optional[int] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetRoundResponse(_message.Message):
    __slots__ = ("state", "round", "base_digest", "base_size_bytes", "spec", "encoding", "plan", "deadline", "deadline_remaining_seconds", "receipt", "waiting_for", "num_rounds", "max_num_examples", "quorum", "error_feedback", "secure_aggregation")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    NUM_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    MAX_NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    ERROR_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    SECURE_AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    state: FederationState
    round: int
    base_digest: bytes
    base_size_bytes: int
    spec: _projector_pb2.ProjectorSpec
    encoding: _projector_pb2.Encoding
    plan: _projector_pb2.TrainingPlan
    deadline: _timestamp_pb2.Timestamp
    deadline_remaining_seconds: float
    receipt: _projector_pb2.Receipt
    waiting_for: str
    num_rounds: int
    max_num_examples: int
    quorum: int
    error_feedback: bool
    secure_aggregation: SecureAggregation
    def __init__(self, state: _Optional[_Union[FederationState, str]] = ..., round: _Optional[int] = ..., base_digest: _Optional[bytes] = ..., base_size_bytes: _Optional[int] = ..., spec: _Optional[_Union[_projector_pb2.ProjectorSpec, _Mapping]] = ..., encoding: _Optional[_Union[_projector_pb2.Encoding, str]] = ..., plan: _Optional[_Union[_projector_pb2.TrainingPlan, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline_remaining_seconds: _Optional[float] = ..., receipt: _Optional[_Union[_projector_pb2.Receipt, _Mapping]] = ..., waiting_for: _Optional[str] = ..., num_rounds: _Optional[int] = ..., max_num_examples: _Optional[int] = ..., quorum: _Optional[int] = ..., error_feedback: bool = ..., secure_aggregation: _Optional[_Union[SecureAggregation, _Mapping]] = ...) -> None: ...

class SecureAggregation(_message.Message):
    __slots__ = ("clip", "bits")
    CLIP_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    clip: float
    bits: int
    def __init__(self, clip: _Optional[float] = ..., bits: _Optional[int] = ...) -> None: ...

class PullProjectorRequest(_message.Message):
    __slots__ = ("federation", "number", "digest", "offset_bytes")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    federation: str
    number: int
    digest: bytes
    offset_bytes: int
    def __init__(self, federation: _Optional[str] = ..., number: _Optional[int] = ..., digest: _Optional[bytes] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class PullProjectorResponse(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: _projector_pb2.ProjectorManifest
    chunk: _projector_pb2.Chunk
    def __init__(self, header: _Optional[_Union[_projector_pb2.ProjectorManifest, _Mapping]] = ..., chunk: _Optional[_Union[_projector_pb2.Chunk, _Mapping]] = ...) -> None: ...

class PushDeltaRequest(_message.Message):
    __slots__ = ("header", "chunk", "finish")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    header: _projector_pb2.ContributionHeader
    chunk: _projector_pb2.Chunk
    finish: PushFinish
    def __init__(self, header: _Optional[_Union[_projector_pb2.ContributionHeader, _Mapping]] = ..., chunk: _Optional[_Union[_projector_pb2.Chunk, _Mapping]] = ..., finish: _Optional[_Union[PushFinish, _Mapping]] = ...) -> None: ...

class PushFinish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PushDeltaResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _projector_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_projector_pb2.Receipt, _Mapping]] = ...) -> None: ...

class GetPushStatusRequest(_message.Message):
    __slots__ = ("federation", "round", "payload_digest")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    federation: str
    round: int
    payload_digest: bytes
    def __init__(self, federation: _Optional[str] = ..., round: _Optional[int] = ..., payload_digest: _Optional[bytes] = ...) -> None: ...

class GetPushStatusResponse(_message.Message):
    __slots__ = ("committed_bytes", "receipt")
    COMMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    committed_bytes: int
    receipt: _projector_pb2.Receipt
    def __init__(self, committed_bytes: _Optional[int] = ..., receipt: _Optional[_Union[_projector_pb2.Receipt, _Mapping]] = ...) -> None: ...

class OfferKeyRequest(_message.Message):
    __slots__ = ("federation", "round", "base_digest", "spec_fingerprint", "public_key", "num_examples", "signature")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SPEC_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    federation: str
    round: int
    base_digest: bytes
    spec_fingerprint: bytes
    public_key: bytes
    num_examples: int
    signature: bytes
    def __init__(self, federation: _Optional[str] = ..., round: _Optional[int] = ..., base_digest: _Optional[bytes] = ..., spec_fingerprint: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., num_examples: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class OfferKeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetKeyRosterRequest(_message.Message):
    __slots__ = ("federation", "round")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    federation: str
    round: int
    def __init__(self, federation: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class KeyRosterMember(_message.Message):
    __slots__ = ("silo", "signing_key", "public_key", "num_examples", "signature")
    SILO_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    silo: str
    signing_key: bytes
    public_key: bytes
    num_examples: int
    signature: bytes
    def __init__(self, silo: _Optional[str] = ..., signing_key: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., num_examples: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class GetKeyRosterResponse(_message.Message):
    __slots__ = ("members", "is_complete")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    IS_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[KeyRosterMember]
    is_complete: bool
    def __init__(self, members: _Optional[_Iterable[_Union[KeyRosterMember, _Mapping]]] = ..., is_complete: bool = ...) -> None: ...

class RevealSeedRequest(_message.Message):
    __slots__ = ("federation", "round", "transcript", "seed", "signature")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    federation: str
    round: int
    transcript: bytes
    seed: bytes
    signature: bytes
    def __init__(self, federation: _Optional[str] = ..., round: _Optional[int] = ..., transcript: _Optional[bytes] = ..., seed: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class RevealSeedResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
