import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnrolRequest(_message.Message):
    __slots__ = ("federation", "secret", "signing_request_der", "signing_key", "signing_key_proof")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    SIGNING_REQUEST_DER_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_PROOF_FIELD_NUMBER: _ClassVar[int]
    federation: str
    secret: bytes
    signing_request_der: bytes
    signing_key: bytes
    signing_key_proof: bytes
    def __init__(self, federation: _Optional[str] = ..., secret: _Optional[bytes] = ..., signing_request_der: _Optional[bytes] = ..., signing_key: _Optional[bytes] = ..., signing_key_proof: _Optional[bytes] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("enrolment",)
    ENROLMENT_FIELD_NUMBER: _ClassVar[int]
    enrolment: Enrolment
    def __init__(self, enrolment: _Optional[_Union[Enrolment, _Mapping]] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("federation", "signing_request_der", "signing_key_proof")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    SIGNING_REQUEST_DER_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_PROOF_FIELD_NUMBER: _ClassVar[int]
    federation: str
    signing_request_der: bytes
    signing_key_proof: bytes
    def __init__(self, federation: _Optional[str] = ..., signing_request_der: _Optional[bytes] = ..., signing_key_proof: _Optional[bytes] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("enrolment",)
    ENROLMENT_FIELD_NUMBER: _ClassVar[int]
    enrolment: Enrolment
    def __init__(self, enrolment: _Optional[_Union[Enrolment, _Mapping]] = ...) -> None: ...

class Enrolment(_message.Message):
    __slots__ = ("silo", "spiffe_id", "certificate_pem", "authorities_pem", "aggregator_keys", "expires_at", "signature")
    SILO_FIELD_NUMBER: _ClassVar[int]
    SPIFFE_ID_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    AUTHORITIES_PEM_FIELD_NUMBER: _ClassVar[int]
    AGGREGATOR_KEYS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    silo: str
    spiffe_id: str
    certificate_pem: str
    authorities_pem: str
    aggregator_keys: _containers.RepeatedScalarFieldContainer[bytes]
    expires_at: _timestamp_pb2.Timestamp
    signature: bytes
    def __init__(self, silo: _Optional[str] = ..., spiffe_id: _Optional[str] = ..., certificate_pem: _Optional[str] = ..., authorities_pem: _Optional[str] = ..., aggregator_keys: _Optional[_Iterable[bytes]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...
