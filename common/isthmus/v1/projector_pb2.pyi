import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_FP32: _ClassVar[Encoding]
    ENCODING_BF16: _ClassVar[Encoding]
    ENCODING_FP16: _ClassVar[Encoding]
    ENCODING_INT8: _ClassVar[Encoding]
    ENCODING_RING32: _ClassVar[Encoding]
    ENCODING_TOP_K: _ClassVar[Encoding]
ENCODING_UNSPECIFIED: Encoding
ENCODING_FP32: Encoding
ENCODING_BF16: Encoding
ENCODING_FP16: Encoding
ENCODING_INT8: Encoding
ENCODING_RING32: Encoding
ENCODING_TOP_K: Encoding

class TensorSpec(_message.Message):
    __slots__ = ("name", "dtype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class ProjectorSpec(_message.Message):
    __slots__ = ("tensors", "fingerprint")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    fingerprint: bytes
    def __init__(self, tensors: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., fingerprint: _Optional[bytes] = ...) -> None: ...

class TrainingPlan(_message.Message):
    __slots__ = ("local_epochs", "local_steps", "batch_size", "optimizer", "learning_rate", "final_learning_rate", "weight_decay", "gradient_clip_norm", "fedprox_mu", "one_pass", "seed", "settings", "privacy")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LOCAL_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    FINAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CLIP_NORM_FIELD_NUMBER: _ClassVar[int]
    FEDPROX_MU_FIELD_NUMBER: _ClassVar[int]
    ONE_PASS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    local_epochs: int
    local_steps: int
    batch_size: int
    optimizer: str
    learning_rate: float
    final_learning_rate: float
    weight_decay: float
    gradient_clip_norm: float
    fedprox_mu: float
    one_pass: bool
    seed: int
    settings: _containers.ScalarMap[str, str]
    privacy: Privacy
    def __init__(self, local_epochs: _Optional[int] = ..., local_steps: _Optional[int] = ..., batch_size: _Optional[int] = ..., optimizer: _Optional[str] = ..., learning_rate: _Optional[float] = ..., final_learning_rate: _Optional[float] = ..., weight_decay: _Optional[float] = ..., gradient_clip_norm: _Optional[float] = ..., fedprox_mu: _Optional[float] = ..., one_pass: bool = ..., seed: _Optional[int] = ..., settings: _Optional[_Mapping[str, str]] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ...) -> None: ...

class Privacy(_message.Message):
    __slots__ = ("clip_norm", "noise_multiplier", "epsilon", "delta")
    CLIP_NORM_FIELD_NUMBER: _ClassVar[int]
    NOISE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    clip_norm: float
    noise_multiplier: float
    epsilon: float
    delta: float
    def __init__(self, clip_norm: _Optional[float] = ..., noise_multiplier: _Optional[float] = ..., epsilon: _Optional[float] = ..., delta: _Optional[float] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class ContributionHeader(_message.Message):
    __slots__ = ("federation", "round", "base_digest", "spec_fingerprint", "payload_digest", "payload_size_bytes", "num_examples", "encoding", "metrics", "signature", "nonce", "transcript", "seed_digest")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SPEC_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SEED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    federation: str
    round: int
    base_digest: bytes
    spec_fingerprint: bytes
    payload_digest: bytes
    payload_size_bytes: int
    num_examples: int
    encoding: Encoding
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    signature: bytes
    nonce: bytes
    transcript: bytes
    seed_digest: bytes
    def __init__(self, federation: _Optional[str] = ..., round: _Optional[int] = ..., base_digest: _Optional[bytes] = ..., spec_fingerprint: _Optional[bytes] = ..., payload_digest: _Optional[bytes] = ..., payload_size_bytes: _Optional[int] = ..., num_examples: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., signature: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., transcript: _Optional[bytes] = ..., seed_digest: _Optional[bytes] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("offset_bytes", "data")
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    offset_bytes: int
    data: bytes
    def __init__(self, offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("federation", "round", "silo", "payload_digest", "payload_size_bytes", "num_examples", "l2_norm", "admitted_at", "counted_in", "signature")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SILO_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    L2_NORM_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    COUNTED_IN_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    federation: str
    round: int
    silo: str
    payload_digest: bytes
    payload_size_bytes: int
    num_examples: int
    l2_norm: float
    admitted_at: _timestamp_pb2.Timestamp
    counted_in: int
    signature: bytes
    def __init__(self, federation: _Optional[str] = ..., round: _Optional[int] = ..., silo: _Optional[str] = ..., payload_digest: _Optional[bytes] = ..., payload_size_bytes: _Optional[int] = ..., num_examples: _Optional[int] = ..., l2_norm: _Optional[float] = ..., admitted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., counted_in: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ProjectorManifest(_message.Message):
    __slots__ = ("number", "digest", "size_bytes", "parent_digest", "roster_digest", "rule", "server_optimizer", "optimizer_state_digest", "silos", "num_examples", "metrics", "cut_at", "tolerance", "abandoned", "reverted", "signature", "remark")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PARENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SERVER_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_STATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SILOS_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CUT_AT_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    REVERTED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    number: int
    digest: bytes
    size_bytes: int
    parent_digest: bytes
    roster_digest: bytes
    rule: str
    server_optimizer: str
    optimizer_state_digest: bytes
    silos: _containers.RepeatedScalarFieldContainer[str]
    num_examples: int
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    cut_at: _timestamp_pb2.Timestamp
    tolerance: float
    abandoned: bool
    reverted: bool
    signature: bytes
    remark: str
    def __init__(self, number: _Optional[int] = ..., digest: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., parent_digest: _Optional[bytes] = ..., roster_digest: _Optional[bytes] = ..., rule: _Optional[str] = ..., server_optimizer: _Optional[str] = ..., optimizer_state_digest: _Optional[bytes] = ..., silos: _Optional[_Iterable[str]] = ..., num_examples: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., cut_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tolerance: _Optional[float] = ..., abandoned: bool = ..., reverted: bool = ..., signature: _Optional[bytes] = ..., remark: _Optional[str] = ...) -> None: ...
