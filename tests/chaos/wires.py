"""One silo's ways to the replicas: a proxy before each of them, which misbehave together when they are told to."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.tcp_proxy import Direction, Link, TcpProxy

DELAY_SECONDS = 0.2
"""Of each read, while the wire is slow to answer."""

THROTTLED_BYTES_PER_SECOND = 128 << 10
SLOW_SECONDS = 1.0
"""How long a wire is throttled, or slow to answer."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens on the wire.

    Attributes:
        number: Of the order.
        kind: "cut", "reset", "half-open", "delay", "throttle", or "kill", which is `then`'s work.
        outward: Whether the silo's own bytes are counted, or those that come to it.
        after_bytes: How many may still pass.
        then: Told the port of the replica whose connection it is.
    """

    number: int
    kind: str
    outward: bool
    after_bytes: int
    then: Callable[[int], None]


class Wire:
    """All connections of one silo.

    Args:
        ports: Of the replicas.

    Attributes:
        address: What the silo is configured with: the address of every proxy.
        fired: Numbers of the troubles that happened.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.fired: set[int] = set()
        self._up, self._down = Direction(), Direction()
        self._proxies = [TcpProxy(f"127.0.0.1:{port}") for port in ports]
        for proxy in self._proxies:
            proxy.up, proxy.down = self._up, self._down
        self.address = ",".join(proxy.address for proxy in self._proxies)

    def trouble(self, trouble: Trouble) -> None:
        """Makes something happen after so many more bytes, whichever connection carries them."""
        direction = self._up if trouble.outward else self._down
        direction.act_after(trouble.after_bytes, lambda link: self._happen(trouble, direction, link))

    def close(self) -> None:
        """Ends it, and every connection."""
        for proxy in self._proxies:
            proxy.close()

    def _happen(self, trouble: Trouble, direction: Direction, link: Link) -> None:
        match trouble.kind:
            case "cut":
                link.close()
            case "reset":
                link.reset()
            case "half-open":
                link.vanish()
            case "delay":
                direction.delay_seconds = DELAY_SECONDS
            case "throttle":
                direction.bytes_per_second = THROTTLED_BYTES_PER_SECOND
        if trouble.kind in ("delay", "throttle"):
            threading.Timer(SLOW_SECONDS, lambda: _calm(direction)).start()
        trouble.then(int(link.target.rpartition(":")[2]))
        self.fired.add(trouble.number)


def _calm(direction: Direction) -> None:
    direction.delay_seconds = direction.bytes_per_second = 0.0
