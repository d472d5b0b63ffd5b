"""The metrics over HTTP: a few threads, so that no number of scrapers takes the replica's."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socketserver import TCPServer
from threading import BoundedSemaphore, Thread
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler

from aggregator.config import host_and_port
from isthmus.errors import ConfigInvalid

Handler = Any  # the library makes the class at run time
Request = Any  # of socketserver: a socket, and the address of whoever asks

_AT_ONCE = 4
_MOST = 20
"""Connections that may be open, those that wait for a thread included; more are closed at once."""

_IDLE_SECONDS = 5.0


class _Server(TCPServer):
    """Serves in a few threads; a connection that stands still, or is one too many, is closed."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: Handler) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="metrics")
        self._places = BoundedSemaphore(_MOST)
        super().__init__(address, handler)

    def process_request(self, request: Request, client_address: Request) -> None:
        """Answers in one of the threads."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        request.settimeout(_IDLE_SECONDS)
        self._pool.submit(self._answer, request, client_address)

    def _answer(self, request: Request, client_address: Request) -> None:
        try:
            with suppress(OSError):  # whoever asked is gone
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            self._places.release()

    def server_close(self) -> None:
        """Closes the port; answers under way may end."""
        super().server_close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class Exposition:
    """Answers GET /metrics from its construction until `close`.

    Raises:
        ConfigInvalid: The port is taken, or the address is not this machine's.

    Attributes:
        port: Where it listens; the free one it took for port 0.
    """

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, port = host_and_port(listen)
        try:
            self._server = _Server((host.strip("[]"), port), MetricsHandler.factory(registry))
        except OSError as error:
            raise ConfigInvalid(
                f"The metrics cannot be served at {listen}: {error.strerror}. Set metrics.listen to another address "
                "(port 0 takes a free one)."
            ) from error
        self.port: int = self._server.server_address[1]
        Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
