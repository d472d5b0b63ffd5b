"""The connection to an aggregator: channel options, credentials on every call, errors in our words.

Knows gRPC; knows no RPC of ours.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from isthmus import errors
from isthmus.addresses import Address, Endpoint, is_loopback, parse_address
from isthmus.chunks import MESSAGE_CAP_BYTES
from isthmus.credentials import Credentials
from isthmus.replicas import Replicas
from isthmus.retry import Patience, Waiter
from isthmus.status import error_of
from isthmus.trust import system_authorities

Reply = TypeVar("Reply")

SERVICE_CONFIG = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
"""All addresses that a name has take calls in turn, and one that is down takes none."""

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.service_config_disable_resolution", 1),  # nobody asks a name server for another one
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    # A fixed window of 4 MiB: with the bandwidth probe on, memory grows with every connection.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    ("grpc.max_receive_message_length", MESSAGE_CAP_BYTES),
    ("grpc.max_send_message_length", MESSAGE_CAP_BYTES),
    # A peer that vanished without closing the connection is noticed within 30 s, also in a long poll. Servers bar
    # clients that ping more often than they allow; ours allows this.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # gRPC waits 60 s for a ping's answer whatever the line above says
    ("grpc.http2.max_pings_without_data", 0),
    # isthmus.retry decides alone; gRPC would repeat what its own rules call safe.
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 250),
    # Despite its name, how long one attempt to connect may take: a far site's TLS handshake, or a host that is off.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Two clients in one process share no connection, so closing one never disturbs the other.
    ("grpc.use_local_subchannel_pool", 1),
)


class Connection:
    """One channel to one aggregator, however many replicas it has, with the caller's credentials.

    TLS when the credentials hold the certificate of an authority to trust, or when the address starts with "tls://"
    (then the system's authorities are trusted). Plaintext otherwise: the aggregator allows that on loopback, or where
    its operator says so.

    Raises:
        ConfigInvalid: The address is none, see `isthmus.addresses`; or the system has no authorities to trust.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self.address = parse_address(address)
        self.metadata = credentials.metadata
        self._security = (
            "with TLS"
            if credentials.ca_pem or self.address.system_tls
            else "without TLS, as the credentials file holds no certificate"
        )
        self.channel = _open(self.address, credentials)

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
        if isinstance(error, errors.ComeBack):
            self.channel.move_on()  # this replica is down, busy or without its store: the next may be well
        if isinstance(error, errors.AggregatorUnreachable):
            return errors.AggregatorUnreachable(
                f"{str(error).rstrip('.')}. Tried {self.address.text} {self._security}.",
                retry_after_seconds=error.retry_after_seconds,
                **error.details,
            )
        return error


def _open(address: Address, credentials: Credentials) -> Replicas:
    secure = bool(credentials.ca_pem) or address.system_tls
    authorities = (credentials.ca_pem or system_authorities()).encode("ascii") if secure else b""
    trust = grpc.ssl_channel_credentials(authorities) if secure else None
    channels = [_channel(endpoint, trust) for endpoint in address.endpoints]
    return Replicas(channels, first=random.randrange(len(channels)))  # silos spread over the replicas that are listed


def _channel(endpoint: Endpoint, trust: grpc.ChannelCredentials | None) -> grpc.Channel:
    # gRPC would ask the site's http_proxy even for this very machine, and no proxy can reach that.
    local = (("grpc.enable_http_proxy", 0),) if is_loopback(endpoint.host) else ()
    options = (*CHANNEL_OPTIONS, *local)
    if trust is None:
        return grpc.insecure_channel(endpoint.target, options=options)
    return grpc.secure_channel(endpoint.target, trust, options=options)
