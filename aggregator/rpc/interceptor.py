"""Errors become statuses here and nowhere else: no servicer calls context.abort.

Also the one place that keeps our own bugs private: an unexpected exception reaches the caller as INTERNAL with an
incident's id, and its text stays in the log under that id.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import grpc

from aggregator.metrics.labels import CALLER_GONE, reason_of
from aggregator.metrics.meters import Meters
from isthmus.errors import (
    BadRequest,
    ComeBack,
    InvariantBroken,
    IsthmusError,
    NotAllowed,
    NotThere,
    RequestInvalid,
    StoreFull,
    StoreUnavailable,
)
from isthmus.logs import Event, log_event
from isthmus.status import CODES, DOMAIN, status_of

_LOG = logging.getLogger(__name__)

Message = Any  # messages of every RPC pass here
Request = TypeVar("Request")
Response = TypeVar("Response")
Behaviour = Callable[[Iterator[Message], grpc.ServicerContext], Message]

_TOLD_HERE = (NotAllowed, NotThere, BadRequest, ComeBack)
"""What no other module logs: refused deltas and broken uploads have events of their own."""


class _Undecodable:
    """Stands for a message that is no protobuf; grpcio would answer INTERNAL if decoding raised."""


_UNDECODABLE = _Undecodable()


class StatusInterceptor(grpc.ServerInterceptor):
    """Translates what servicers and the door raise; stands before the door, which makes every request a stream.

    Args:
        meters: Told how every call ends.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Request, Response] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Request, Response] | None":
        """The same handler, translating; None (UNIMPLEMENTED) and handlers of other services stay as they are."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(f"/{DOMAIN}."):
            return handler
        return _translating(handler, method=method, meters=self._meters)


def _translating(
    handler: "grpc.RpcMethodHandler[Any, Any]", *, method: str, meters: Meters
) -> "grpc.RpcMethodHandler[Any, Any]":
    """A handler that does the same and ends in a status of ours."""
    codec: dict[str, Any] = {  # keywords of four constructors
        "request_deserializer": _never_raising(handler.request_deserializer or bytes),
        "response_serializer": handler.response_serializer,
    }
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(_call(handler.stream_unary, method, meters), **codec)
    if handler.stream_stream:
        return grpc.stream_stream_rpc_method_handler(_stream(handler.stream_stream, method, meters), **codec)
    raise InvariantBroken(f"{method} has a handler that did not pass the door.")


def _never_raising(deserialize: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    def decode(data: bytes) -> Message:
        try:
            return deserialize(data)
        except Exception:
            return _UNDECODABLE

    return decode


def _call(behaviour: Behaviour, method: str, meters: Meters) -> Behaviour:
    def answer(requests: Iterator[Message], context: grpc.ServicerContext) -> Message:
        with meters.call(method) as ended:
            try:
                return behaviour(map(_decoded, requests), context)
            except Exception as error:
                ended(_reason_of(error))
                _end(error, context, method)

    return answer


def _stream(behaviour: Behaviour, method: str, meters: Meters) -> Behaviour:
    def answer(requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        with meters.call(method) as ended:
            try:
                yield from behaviour(map(_decoded, requests), context)
            except Exception as error:
                ended(_reason_of(error))
                _end(error, context, method)

    return answer


def _reason_of(error: Exception) -> str:
    return CALLER_GONE if isinstance(error, grpc.RpcError) else reason_of(error)


def _decoded(message: Message) -> Message:
    if message is _UNDECODABLE:
        raise RequestInvalid("A message of the call is not valid protobuf of isthmus.v1.", check="protobuf")
    return message


def _end(error: Exception, context: grpc.ServicerContext, method: str) -> NoReturn:
    """Ends the call with the error's status."""
    if isinstance(error, grpc.RpcError):
        raise error  # the caller is gone: grpcio raised it out of the request stream, and knows it again
    if type(error) in CODES and isinstance(error, IsthmusError) and not isinstance(error, InvariantBroken):
        level = logging.INFO if isinstance(error, _TOLD_HERE) else logging.DEBUG
        told = error.kept_text()
        log_event(_LOG, Event.CALL_REFUSED, level, method=method, peer=context.peer(), reason=error.reason, text=told)
        context.abort_with_status(status_of(_for_caller(error, method)))
    incident = secrets.token_hex(6)
    _LOG.error(Event.CALL_FAILED.value, exc_info=error, extra={"facts": {"method": method, "incident": incident}})
    context.abort_with_status(
        status_of(
            InvariantBroken(
                f"The aggregator failed on its own fault; the call changed nothing it did not answer for. Give its "
                f"operator the incident {incident}.",
                incident=incident,
            )
        )
    )


def _for_caller(error: IsthmusError, method: str) -> IsthmusError:
    """The error as the caller may know it: where the store is and what ails it is the operator's business."""
    if method.startswith(f"/{DOMAIN}.AdminService/"):
        return error
    if isinstance(error, StoreFull):
        return StoreFull(
            "The aggregator's store, or this federation's share of it, is full. What has a receipt is safe, and what "
            "arrived before is kept. Repeat the call once the operator has made room; the aggregator's log says where.",
            retry_after_seconds=error.retry_after_seconds,
            **error.details,
        )
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(
            "The aggregator's store does not answer. Nothing that has a receipt is lost; repeat the call. The operator "
            "finds the cause in the aggregator's log.",
            retry_after_seconds=error.retry_after_seconds,
        )
    return error
