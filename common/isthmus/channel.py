"""The connection to an aggregator: channel options, credentials on every call, errors in our words.

Knows gRPC; knows no RPC of ours.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from isthmus import errors
from isthmus.chunks import MESSAGE_CAP_BYTES
from isthmus.credentials import Credentials
from isthmus.retry import Patience, Waiter
from isthmus.status import error_of

Reply = TypeVar("Reply")

TLS_PREFIX = "tls://"
"""Before an address: TLS with the system's authorities."""

_LOOPBACK = ("127.", "localhost:", "[::1]:")

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A fixed window of 4 MiB: with the bandwidth probe on, memory grows with every connection.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    ("grpc.max_receive_message_length", MESSAGE_CAP_BYTES),
    ("grpc.max_send_message_length", MESSAGE_CAP_BYTES),
    # A peer that vanished without closing the connection is noticed within 80 s, also in a long poll. Servers bar
    # clients that ping more often than they allow; ours allows this.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # isthmus.retry decides alone; gRPC would repeat what its own rules call safe.
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 250),
    # Two clients in one process share no connection, so closing one never disturbs the other.
    ("grpc.use_local_subchannel_pool", 1),
)


class Connection:
    """One channel to one aggregator, with the caller's credentials.

    TLS when the credentials hold the certificate of an authority to trust, or when the address starts with "tls://"
    (then the system's authorities are trusted). Plaintext otherwise: the aggregator allows that on loopback, or where
    its operator says so.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self.address = address
        self.metadata = credentials.metadata
        self._security = (
            "with TLS"
            if credentials.ca_pem or address.startswith(TLS_PREFIX)
            else "without TLS, as the credentials file holds no certificate"
        )
        self.channel = _open(address, credentials)

    def close(self) -> None:
        """Ends every call and closes the connection."""
        self.channel.close()

    def call(self, function: Callable[[], Reply]) -> Reply:
        """What the call returns, its failure raised in our words.

        Raises:
            IsthmusError: What the aggregator answered; AggregatorUnreachable names the address.
        """
        try:
            return function()
        except grpc.RpcError as error:
            raise self._in_our_words(error) from error

    def persist(self, function: Callable[[], Reply], *, patience: Patience) -> Reply:
        """What the call returns, repeated by the rule of `isthmus.retry` until patience is over.

        Raises:
            IsthmusError: As `call`, of the last try.
        """
        waiter = Waiter(patience)
        while True:
            try:
                return self.call(function)
            except errors.IsthmusError as error:
                waiter.after(error)

    def stream(self, function: Callable[[], Iterator[Reply]]) -> Iterator[Reply]:
        """The parts of a streamed answer, its failure raised in our words, the call ended when the reader stops.

        Raises:
            IsthmusError: As `call`.
        """
        parts = self.call(function)
        try:
            yield from parts
        except grpc.RpcError as error:
            raise self._in_our_words(error) from error
        finally:
            if isinstance(parts, grpc.Call):
                parts.cancel()

    def _in_our_words(self, call: grpc.RpcError) -> errors.IsthmusError:
        error = error_of(call)
        if isinstance(error, errors.AggregatorUnreachable):
            return errors.AggregatorUnreachable(
                f"{str(error).rstrip('.')}. Tried {self.address} {self._security}.",
                retry_after_seconds=error.retry_after_seconds,
                **error.details,
            )
        return error


def _open(address: str, credentials: Credentials) -> grpc.Channel:
    target = address.removeprefix(TLS_PREFIX)
    # gRPC would ask the site's http_proxy even for this very machine, and no proxy can reach that.
    local = target.startswith(_LOOPBACK)
    options = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0)) if local else CHANNEL_OPTIONS
    if not credentials.ca_pem and not address.startswith(TLS_PREFIX):
        return grpc.insecure_channel(target, options=options)
    trust = grpc.ssl_channel_credentials(credentials.ca_pem.encode("ascii") or None)
    return grpc.secure_channel(target, trust, options=options)
