"""The one table between our errors and gRPC's status, read in both directions.

A status carries google.rpc.ErrorInfo (reason, domain "isthmus.v1", the error's details) and, for transient errors,
google.rpc.RetryInfo. An error is never recognised by its text.
"""

from collections.abc import Iterator

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from isthmus import errors

DOMAIN = "isthmus.v1"

CODES: dict[type[errors.IsthmusError], grpc.StatusCode] = {
    errors.HeaderInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SignatureInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PayloadMalformed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PayloadTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PayloadDigestMismatch: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SpecMismatch: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeltaNotFinite: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeltaNormExceeded: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeltaNormTooSmall: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NumExamplesOutOfRange: grpc.StatusCode.INVALID_ARGUMENT,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.RoundClosed: grpc.StatusCode.ABORTED,
    errors.BaseStale: grpc.StatusCode.ABORTED,
    errors.OffsetMismatch: grpc.StatusCode.OUT_OF_RANGE,
    errors.FinishMissing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Incomplete: grpc.StatusCode.FAILED_PRECONDITION,
    errors.UploadTooSlow: grpc.StatusCode.ABORTED,
    errors.ContributionConflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.DeltaReplayed: grpc.StatusCode.ALREADY_EXISTS,
    errors.FederationExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.SiloExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.CredentialMissing: grpc.StatusCode.UNAUTHENTICATED,
    errors.IdentityInvalid: grpc.StatusCode.UNAUTHENTICATED,
    errors.InvitationInvalid: grpc.StatusCode.PERMISSION_DENIED,
    errors.SiloNotEnrolled: grpc.StatusCode.PERMISSION_DENIED,
    errors.SiloQuarantined: grpc.StatusCode.PERMISSION_DENIED,
    errors.OperatorOnly: grpc.StatusCode.PERMISSION_DENIED,
    errors.FederationUnknown: grpc.StatusCode.NOT_FOUND,
    errors.ProjectorUnknown: grpc.StatusCode.NOT_FOUND,
    errors.SiloUnknown: grpc.StatusCode.NOT_FOUND,
    errors.FederationPaused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.FederationFinished: grpc.StatusCode.FAILED_PRECONDITION,
    errors.EnrolmentClosed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.FederationInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NameInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.RequestInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OffsetOutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.InvariantBroken: grpc.StatusCode.INTERNAL,
}
"""Every error that travels. A test fails when one of `isthmus.errors` is neither here nor in LOCAL."""

LOCAL: frozenset[type[errors.IsthmusError]] = frozenset(
    {
        errors.AggregatorUnreachable,
        errors.AggregatorUntrusted,
        errors.ClusterUnavailable,
        errors.ConfigInvalid,
        errors.ScratchUnavailable,
    }
)
"""Errors that are raised where they are caught and never sent."""

# Trailers are capped (8 KiB by default) and the text travels twice, percent-encoded once: over these limits the
# client would see a broken call instead of the error.
_MAX_TEXT = 1000
_MAX_DETAILS = 8
_MAX_DETAIL = 160

MAX_RETRY_SECONDS = 3600.0
"""No caller is kept waiting for longer at once, and none for less than nothing, whatever the other side asks for."""

_BY_REASON = {error.reason: error for error in CODES}
_UNREACHABLE = {
    grpc.StatusCode.UNAVAILABLE: "No aggregator answers there",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The aggregator did not answer in time",
    grpc.StatusCode.CANCELLED: "The call was cut off",
}


def status_of(error: errors.IsthmusError) -> grpc.Status:
    """The status that carries this error.

    Raises:
        KeyError: The error never travels (it is in LOCAL, or no leaf of the tree).
    """
    code = CODES[type(error)]
    status = status_pb2.Status(code=code.value[0], message=_plain(str(error), _MAX_TEXT))
    for detail in _details(error):
        status.details.add().Pack(detail)
    rich: grpc.Status = rpc_status.to_status(status)
    return rich


def code_of(error: errors.IsthmusError) -> grpc.StatusCode:
    """The gRPC code of an error; UNAVAILABLE for AggregatorUnreachable, INTERNAL for what has no row."""
    if isinstance(error, errors.AggregatorUnreachable):
        return grpc.StatusCode.UNAVAILABLE
    return CODES.get(type(error), grpc.StatusCode.INTERNAL)


def error_of(call: grpc.RpcError) -> errors.IsthmusError:
    """The error that a failed call carries; one without our ErrorInfo becomes the nearest of our errors."""
    status = _rich_status(call)
    info, retry_after_seconds = _unpacked(status) if status is not None else (None, None)
    if status is None or info is None:
        return _without_info(call)
    error = _BY_REASON[info.reason](status.message)
    error.details = dict(info.metadata)  # not as keywords: the other side chose the keys
    if isinstance(error, errors.ComeBack) and retry_after_seconds is not None:
        error.retry_after_seconds = retry_after_seconds
    return error


def _details(error: errors.IsthmusError) -> Iterator[error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo]:
    metadata = {key: _plain(value, _MAX_DETAIL) for key, value in list(error.details.items())[:_MAX_DETAILS]}
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if isinstance(error, errors.ComeBack):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _rich_status(call: grpc.RpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(call)
    except (ValueError, AttributeError):  # a proxy rewrote the code, or this is no call at all
        return None


def _unpacked(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo | None, float | None]:
    """Our ErrorInfo and the retry delay in seconds, where the status has them."""
    found, retry_after_seconds = None, None
    for packed in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if packed.Unpack(info) and info.domain == DOMAIN and info.reason in _BY_REASON:
            found = info
        elif packed.Unpack(retry):
            retry_after_seconds = min(max(retry.retry_delay.ToNanoseconds() / 1e9, 0.0), MAX_RETRY_SECONDS)
    return found, retry_after_seconds


def _without_info(call: grpc.RpcError) -> errors.IsthmusError:
    """What a library, a proxy or a dead peer answered, as one of our errors."""
    code = call.code() if isinstance(call, grpc.Call) else grpc.StatusCode.UNKNOWN
    text = (call.details() or "no reason given") if isinstance(call, grpc.Call) else str(call)
    if code in _UNREACHABLE:
        # Nobody asked for a delay: the first repetition may come at once, at another replica.
        return errors.AggregatorUnreachable(f"{_UNREACHABLE[code]}: {text}.", retry_after_seconds=0, grpcCode=code.name)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return errors.Overloaded(f"The aggregator is at a limit: {text}.", grpcCode=code.name)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return errors.IdentityInvalid(f"The credential was refused: {text}.", grpcCode=code.name)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.InvariantBroken(
            f"The server speaks another protocol than {DOMAIN}: {text}. Check the address and both versions.",
            grpcCode=code.name,
        )
    return errors.InvariantBroken(f"The aggregator answered {code.name}: {text}.", grpcCode=code.name)


def _plain(text: str, limit: int) -> str:
    """Printable ASCII of at most `limit` characters, so that a header can carry it and a terminal is not fooled."""
    plain = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."
