"""The naive server: one unary message per projector and per delta, every delta in memory until all are there.

    python -m benchmarks.rounds.naive_server serve PORT SILOS [PKI]
    python -m benchmarks.rounds.naive_server silo NAME PORT ROUNDS [PKI]

No admission, no receipt that means anything, nothing on disk: what one writes in an afternoon. With a folder of
certificates, over mutual TLS.
"""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value

from benchmarks.rounds.marks import mark
from benchmarks.rounds.work import Tensors, projector, shapes, trained, widths_of_environment

_SERVICE = "naive.Averaging"
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)


class Averaging:
    """The server's two calls.

    Args:
        num_silos: Deltas that make a round.
        initial: Global projector 0.
    """

    def __init__(self, num_silos: int, initial: Tensors) -> None:
        self._num_silos = num_silos
        self._projector = initial
        self._number = 0
        self._deltas: list[Tensors] = []
        self._published = threading.Condition()

    def pull(self, request: Int64Value, _context: grpc.ServicerContext) -> BytesValue:
        """The global projector of this number, once it is there."""
        with self._published:
            self._published.wait_for(lambda: self._number >= request.value)
            return to_message(self._projector)

    def push(self, request: BytesValue, _context: grpc.ServicerContext) -> Int64Value:
        """Takes a delta; the last one of a round averages them all."""
        delta = from_message(request)
        with self._published:
            self._deltas.append(delta)
            if len(self._deltas) == self._num_silos:
                self._publish()
            return Int64Value(value=self._number)

    def _publish(self) -> None:
        self._projector = {
            name: tensor + np.mean([delta[name] for delta in self._deltas], axis=0, dtype=np.float32)
            for name, tensor in self._projector.items()
        }
        self._deltas.clear()
        self._number += 1
        mark("published", round=self._number)
        self._published.notify_all()


def to_message(tensors: Tensors) -> BytesValue:
    """All tensors, one after the other."""
    return BytesValue(value=b"".join(tensor.tobytes() for tensor in tensors.values()))


def from_message(message: BytesValue) -> Tensors:
    """The tensors of such a message."""
    tensors, position = {}, 0
    for name, shape in shapes(widths_of_environment()).items():
        count = int(np.prod(shape))
        tensors[name] = np.frombuffer(message.value, np.float32, count, 4 * position).reshape(shape)
        position += count
    return tensors


def serve(port: int, *, num_silos: int, pki: Path | None) -> None:
    """Serves until it is ended."""
    averaging = Averaging(num_silos, projector(widths_of_environment()))
    server = grpc.server(ThreadPoolExecutor(2 * num_silos), options=_OPTIONS)
    handlers = {
        "Pull": _unary(averaging.pull, takes=Int64Value),
        "Push": _unary(averaging.push, takes=BytesValue),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    where = f"127.0.0.1:{port}"
    if pki:
        server.add_secure_port(where, _server_credentials(pki))
    else:
        server.add_insecure_port(where)
    server.start()
    server.wait_for_termination()


def take_part(name: str, *, port: int, num_rounds: int, pki: Path | None) -> None:
    """One silo: pulls, trains in pretence and pushes, round after round."""
    with _channel(port, pki) as channel:
        pull = channel.unary_unary(f"/{_SERVICE}/Pull", Int64Value.SerializeToString, BytesValue.FromString)
        push = channel.unary_unary(f"/{_SERVICE}/Push", BytesValue.SerializeToString, Int64Value.FromString)
        for number in range(1, num_rounds + 1):
            current = from_message(pull(Int64Value(value=number - 1), wait_for_ready=True))
            mark("pulled", round=number, silo=name)
            local = trained(current, silo=name)
            push(to_message({key: local[key] - current[key] for key in local}))
            mark("pushed", round=number, silo=name)


def _unary(call: object, *, takes: type[BytesValue | Int64Value]) -> "grpc.RpcMethodHandler[Any, Any]":
    return grpc.unary_unary_rpc_method_handler(
        call,  # type: ignore[arg-type]  # a bound method of that form
        request_deserializer=takes.FromString,
        response_serializer=lambda reply: reply.SerializeToString(),
    )


def _server_credentials(pki: Path) -> grpc.ServerCredentials:
    pair = ((pki / "server-key.pem").read_bytes(), (pki / "server.pem").read_bytes())
    return grpc.ssl_server_credentials([pair], (pki / "authority.pem").read_bytes(), require_client_auth=True)


def _channel(port: int, pki: Path | None) -> grpc.Channel:
    where = f"127.0.0.1:{port}"
    if pki is None:
        return grpc.insecure_channel(where, options=_OPTIONS)
    files = [(pki / name).read_bytes() for name in ("authority.pem", "silo-key.pem", "silo.pem")]
    return grpc.secure_channel(where, grpc.ssl_channel_credentials(*files), options=_OPTIONS)


def main(arguments: Sequence[str]) -> int:
    """Serves, or takes part."""
    role, *rest = arguments
    if role == "serve":
        port, silos, *pki = rest
        serve(int(port), num_silos=int(silos), pki=Path(pki[0]) if pki else None)
    else:
        name, port, rounds, *pki = rest
        take_part(name, port=int(port), num_rounds=int(rounds), pki=Path(pki[0]) if pki else None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
