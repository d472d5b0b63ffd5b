"""Chunks of pushes and pulls pass protobuf by, see `isthmus.parts`: neither side can tell by the bytes on the wire."""

from collections.abc import Callable
from typing import Any

import grpc

from isthmus.parts import decoder, encode_part
from isthmus.raw_streams import PULL_PROJECTOR, PUSH_DELTA


class RawChunks(grpc.ServerInterceptor):
    """Gives the two streams that carry tensors their reader and writer; stands innermost."""

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The same handler with another codec; all other handlers stay as they are."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        if handler_call_details.method == PUSH_DELTA and handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                handler.stream_unary,
                request_deserializer=decoder(handler.request_deserializer or bytes),
                response_serializer=handler.response_serializer,
            )
        if handler_call_details.method == PULL_PROJECTOR and handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                handler.unary_stream,
                request_deserializer=handler.request_deserializer,
                response_serializer=encode_part,
            )
        return handler
