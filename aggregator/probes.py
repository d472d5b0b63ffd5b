"""A port for probes that speak no TLS and have no certificate: grpc.health.v1, Check alone, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2

from aggregator.rpc.door import Door
from aggregator.setup import bind

LIVE = "live"
"""The service that is SERVING for as long as the process answers. Whoever restarts processes asks for it: a replica
whose store is away is not served by a restart. The service "" says whether it serves, too."""

_MAX_CALLS = 32

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 << 10),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.max_concurrent_streams", 8),
    ("grpc.max_connection_idle_ms", 60_000),
)


class Probes:
    """The port, answering from its construction until `stop`.

    No Watch: each takes a call for as long as its caller likes, and kubelet asks Check.

    Args:
        listen: host:port.
        states: What it answers.

    Raises:
        ConfigInvalid: The port is taken or the address is not this machine's.

    Attributes:
        port: Where it listens; the free one it took for port 0.
    """

    def __init__(self, listen: str, states: health.HealthServicer) -> None:
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="probe")
        self._door = Door(_MAX_CALLS, judge=_nobody)
        self._server = grpc.server(
            self._pool, interceptors=[self._door], options=_OPTIONS, maximum_concurrent_rpcs=_MAX_CALLS
        )
        check = grpc.unary_unary_rpc_method_handler(
            states.Check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        only = grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check})
        self._server.add_generic_rpc_handlers((only,))
        self.port = bind(self._server, listen, None)
        self._server.start()

    def cut_idle(self) -> None:
        """Cuts off calls that sent no first message for too long."""
        self._door.cut_idle()

    def stop(self) -> None:
        """Ends at once."""
        self._server.stop(None).wait()
        self._pool.shutdown(wait=True)
        self._door.close()


def _nobody(_: grpc.ServicerContext) -> None:
    """There is nobody to judge: no call of ours is answered here."""
