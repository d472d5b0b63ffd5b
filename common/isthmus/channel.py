"""The connection to an aggregator: channel options, credentials on every call, errors in our words.

Knows gRPC; knows no RPC of ours.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from isthmus import errors, traces
from isthmus.addresses import Address, Endpoint, is_loopback, parse_address
from isthmus.chunks import MESSAGE_CAP_BYTES
from isthmus.credentials import Credentials, CredentialsFile
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
    """One channel to one aggregator, however many replicas it has, with the caller's certificate.

    Mutual TLS: the aggregator's certificate is judged by the authorities in the credentials, or by the system's where
    they hold none or the address begins with "tls://". "plaintext://" before an address of this very machine: no TLS.

    Args:
        address: See `isthmus.addresses`.
        credentials: Whose; from a file, they are taken up anew whenever it is renewed.

    Raises:
        ConfigInvalid: The address is none, see `isthmus.addresses`; or the system has no authorities to trust.
    """

    def __init__(self, address: str, credentials: Credentials | CredentialsFile) -> None:
        self.address = parse_address(address)
        self._source = credentials
        self._credentials = self._current()
        self._security = "without TLS" if self.address.plaintext else "with TLS"
        channels = _channels(self.address, self._credentials)
        first = random.randrange(len(channels))  # nosec B311  # silos spread over the replicas; nothing secret
        self.channel = Replicas(channels, first=first)

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What every call carries: over TLS, where the handshake says who calls, the span under way alone, if any."""
        return (*(self._credentials.metadata if self.address.plaintext else ()), *traces.outgoing())

    def close(self) -> None:
        """Ends every call and closes the connection."""
        self.channel.close()

    def call(self, function: Callable[[], Reply]) -> Reply:
        """What the call returns, its failure raised in our words.

        Raises:
            IsthmusError: What the aggregator answered; AggregatorUnreachable names the address.
        """
        self._take_up()
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

    def _current(self) -> Credentials:
        return self._source.current() if isinstance(self._source, CredentialsFile) else self._source

    def _take_up(self) -> None:
        """Connects anew when the credentials were renewed; what is under way goes on over the old connection."""
        current = self._current()
        if current is not self._credentials:
            self._credentials = current
            self.channel.swap(_channels(self.address, current))

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


def anonymous_channel(address: Address, authorities_pem: str) -> grpc.Channel:
    """A channel to the first endpoint for a caller that has no certificate yet.

    Raises:
        ConfigInvalid: The system has no authorities to trust, and none are named.
    """
    trust = None if address.plaintext else grpc.ssl_channel_credentials(_trusted(address, authorities_pem))
    return _channel(address.endpoints[0], trust)


def _channels(address: Address, credentials: Credentials) -> list[grpc.Channel]:
    if address.plaintext:
        return [_channel(endpoint, None) for endpoint in address.endpoints]
    trust = grpc.ssl_channel_credentials(
        _trusted(address, credentials.authorities_pem),
        private_key=credentials.key.pem.encode(),
        certificate_chain=credentials.chain_pem.encode(),
    )
    return [_channel(endpoint, trust) for endpoint in address.endpoints]


def _trusted(address: Address, authorities_pem: str) -> bytes:
    return (system_authorities() if address.system_tls else authorities_pem or system_authorities()).encode("ascii")


def _channel(endpoint: Endpoint, trust: grpc.ChannelCredentials | None) -> grpc.Channel:
    # gRPC would ask the site's http_proxy even for this very machine, and no proxy can reach that.
    local = (("grpc.enable_http_proxy", 0),) if is_loopback(endpoint.host) else ()
    options = (*CHANNEL_OPTIONS, *local)
    if trust is None:
        return grpc.insecure_channel(endpoint.target, options=options)
    return grpc.secure_channel(endpoint.target, trust, options=options)
