"""Three real replicas over one store, each behind a proxy, and a federation whose projector has several segments."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.large_federation import found_large
from tests.name_server import NameServer
from tests.real_aggregator import RealAggregator, real_replicas
from tests.tcp_proxy import TcpProxy

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@dataclass
class Replicas:
    """The replicas; their proxies share a port, so one name can stand for them."""

    processes: list[RealAggregator]
    proxies: list[TcpProxy]
    name_server: NameServer
    credentials: Path
    """Of the federation's one silo."""

    def address(self, form: str) -> str:
        """Of all of them, as a "list" or as a "name"."""
        if form == "list":
            return ",".join(proxy.address for proxy in self.proxies)
        port = self.proxies[0].address.rpartition(":")[2]
        return f"dns://{self.name_server.address}/aggregator.test:{port}"

    @property
    def num_bytes_up(self) -> int:
        """What the silo sent so far, to all of them."""
        return sum(proxy.up.num_bytes for proxy in self.proxies)

    def restart(self, index: int) -> None:
        """Starts another process in the place of a killed one, at a port of its own."""
        self.processes[index].start()
        self.proxies[index].target = self.processes[index].address


@contextmanager
def proxied_replicas(folder: Path) -> Iterator[Replicas]:
    """Starts everything in an empty folder."""
    with ExitStack() as stack:
        processes = stack.enter_context(real_replicas(folder, len(HOSTS)))
        proxies: list[TcpProxy] = []
        for process, host in zip(processes, HOSTS, strict=True):
            port = int(proxies[0].address.rpartition(":")[2]) if proxies else 0
            proxies.append(stack.enter_context(TcpProxy(process.address, host=host, port=port)))
        name_server = stack.enter_context(NameServer(HOSTS))
        credentials = found_large(proxies[0].address, operator=processes[0].operator)
        yield Replicas(processes, proxies, name_server, credentials)


class Killing:
    """A progress callback that kills the replica that a transfer uses, once, at this byte of a phase.

    Attributes:
        killed: Which replica it was; None: the byte was not reached.
        offsets: Bytes done, in the order they were reported.
    """

    def __init__(self, replicas: Replicas, *, phase: str, at_bytes: int) -> None:
        self._replicas = replicas
        self._phase = phase
        self._at_bytes = at_bytes
        self._before: list[int] = []
        self.killed: int | None = None
        self.offsets: list[int] = []

    def __call__(self, phase: str, done: int, size: int) -> None:
        """Remembers the progress of the phase; kills at the given byte."""
        if phase != self._phase:
            return
        self._before = self._before or self._traffic()
        self.offsets.append(done)
        if done >= self._at_bytes and self.killed is None:
            moved = [now - before for now, before in zip(self._traffic(), self._before, strict=True)]
            self.killed = moved.index(max(moved))
            self._replicas.processes[self.killed].kill()

    def _traffic(self) -> list[int]:
        proxies = self._replicas.proxies
        return [(proxy.up if self._phase == "push" else proxy.down).num_bytes for proxy in proxies]
