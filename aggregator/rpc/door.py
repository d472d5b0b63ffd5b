"""What every call passes before it may keep a thread: a certificate that could be one of ours, and its first message.

grpcio gives a call a thread before any of its bytes came: without the door, calls that never send a message would take
all threads. Enrolment, health and reflection ask for no certificate, so they have small pools of their own.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from aggregator.rpc.openings import Openings
from isthmus.status import DOMAIN

Message = Any  # messages of every RPC pass here
Judge = Callable[[grpc.ServicerContext], object]

_HEALTH = "/grpc.health.v1.Health/"
_ENROL = f"/{DOMAIN}.EnrolmentService/Enrol"

_STRANGERS_AT_ONCE = 8


class Door(grpc.ServerInterceptor):
    """Takes the first message of every call where it can be cut off; handlers behind it see it as ever.

    Args:
        limit: How many calls of silos and operators may be opening at once; see `Openings`.
        judge: Raises unless a call shows a certificate that could be one of ours.
    """

    def __init__(self, limit: int, *, judge: Judge) -> None:
        self._judge = judge
        self._callers = Openings(limit, monotonic=time.monotonic)
        self._strangers = Openings(_STRANGERS_AT_ONCE, monotonic=time.monotonic)
        self._newcomers = Openings(_STRANGERS_AT_ONCE, monotonic=time.monotonic)
        self._health_pool = ThreadPoolExecutor(2 * _STRANGERS_AT_ONCE, thread_name_prefix="health")
        self._newcomers_pool = ThreadPoolExecutor(2 * _STRANGERS_AT_ONCE, thread_name_prefix="enrolment")
        self._tools_pool = ThreadPoolExecutor(2 * _STRANGERS_AT_ONCE, thread_name_prefix="reflection")

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The same handler behind the door, its requests a stream; None (UNIMPLEMENTED) stays as it is."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        if method == _ENROL:
            return _rebuilt(handler, _entering(handler, self._newcomers, judge=_anybody), pool=self._newcomers_pool)
        if method.startswith(f"/{DOMAIN}."):
            return _rebuilt(handler, _entering(handler, self._callers, judge=self._judge))
        if method.startswith(_HEALTH):
            return _rebuilt(handler, _entering(handler, self._strangers, judge=_anybody), pool=self._health_pool)
        return _rebuilt(handler, _brief(handler, self._strangers), pool=self._tools_pool)

    def cut_idle(self) -> None:
        """Cuts off calls that sent no first message for too long."""
        self._callers.cut_idle()
        self._strangers.cut_idle()
        self._newcomers.cut_idle()

    def close(self) -> None:
        """Ends the small pools; call it once the server has stopped."""
        self._health_pool.shutdown(wait=True)
        self._newcomers_pool.shutdown(wait=True)
        self._tools_pool.shutdown(wait=True)


def _anybody(_: grpc.ServicerContext) -> None:
    """Lets everybody in."""


def _behaviour(handler: "grpc.RpcMethodHandler[Any, Any]") -> Callable[..., Message]:
    found: Callable[..., Message] | None = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    assert found is not None, "a handler has one behaviour"  # nosec B101  # true of every handler of gRPC
    return found


def _entering(
    handler: "grpc.RpcMethodHandler[Any, Any]", openings: Openings, *, judge: Judge
) -> Callable[..., Message]:
    """Waits for the first message at the door. A call that ends without one is one with an empty message."""
    behaviour, decode = _behaviour(handler), handler.request_deserializer or bytes

    def answer(requests: Iterator[Message], context: grpc.ServicerContext, *send: Callable[..., None]) -> Message:
        judge(context)
        with openings.hold(context):
            first = next(requests, None)
        if first is None:
            first = decode(b"")
        return behaviour(itertools.chain((first,), requests) if handler.request_streaming else first, context, *send)

    return answer


def _brief(handler: "grpc.RpcMethodHandler[Any, Any]", openings: Openings) -> Callable[..., Message]:
    """Holds its place at the door to the end: reflection's streams are short, and nothing says whose they are."""
    behaviour = _entering(handler, openings, judge=_anybody)

    def answer(requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        with openings.hold(context):
            yield from behaviour(requests, context)

    return answer


def _rebuilt(
    handler: "grpc.RpcMethodHandler[Any, Any]",
    behaviour: Callable[..., Message],
    *,
    pool: ThreadPoolExecutor | None = None,
) -> "grpc.RpcMethodHandler[Any, Any]":
    """A handler with this behaviour, in this pool; grpcio reads both wishes from the behaviour's attributes."""
    non_blocking = getattr(_behaviour(handler), "experimental_non_blocking", False)
    vars(behaviour).update(experimental_thread_pool=pool, experimental_non_blocking=non_blocking)
    build = (
        grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    )
    return build(
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
