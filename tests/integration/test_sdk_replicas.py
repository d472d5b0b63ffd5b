"""The SDK before three real replicas of which any may die: transfers go on at another one, and nobody sees it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from isthmus import SiloClient
from isthmus.operator_client import OperatorClient
from tests.large_federation import NAME, found_large
from tests.name_server import NameServer
from tests.real_aggregator import RealAggregator, real_aggregator
from tests.tcp_proxy import TcpProxy

MOST_RESENT = 8 << 20
"""Bytes that one interruption may send twice: what a replica holds unstaged, and what is on its way to it."""

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@dataclass
class Replicas:
    """Three replicas over one store, each behind a proxy; the proxies share a port, so one name can stand for them."""

    processes: list[RealAggregator]
    proxies: list[TcpProxy]
    name_server: NameServer
    credentials: Path

    def address(self, form: str) -> str:
        """Of all of them, in this form."""
        if form == "list":
            return ",".join(proxy.address for proxy in self.proxies)
        port = self.proxies[0].address.rpartition(":")[2]
        return f"dns://{self.name_server.address}/aggregator.test:{port}"

    def kill_busiest(self, measure: Callable[[TcpProxy], int]) -> int:
        """Kills the replica with the most traffic of this kind; which one it was."""
        index = max(range(len(self.proxies)), key=lambda at: measure(self.proxies[at]))
        self.processes[index].kill()
        return index

    def restart(self, index: int) -> None:
        """Starts another process in its place, at a port of its own."""
        self.processes[index].start()
        self.proxies[index].target = self.processes[index].address


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Three replicas and a federation of one silo with a projector of 21 MB."""
    folder = tmp_path_factory.mktemp("aggregator")
    with ExitStack() as stack:
        processes = [stack.enter_context(real_aggregator(folder))]
        for _ in HOSTS[1:]:
            processes.append(RealAggregator(folder))
            processes[-1].start()
            stack.callback(processes[-1].kill)
        first = stack.enter_context(TcpProxy(processes[0].address, host=HOSTS[0]))
        port = int(first.address.rpartition(":")[2])
        others = [
            stack.enter_context(TcpProxy(process.address, host=host, port=port))
            for process, host in zip(processes[1:], HOSTS[1:], strict=True)
        ]
        name_server = stack.enter_context(NameServer(HOSTS))
        credentials = found_large(first.address, operator=processes[0].operator)
        yield Replicas(processes, [first, *others], name_server, credentials)


class Killing:
    """A progress callback that kills the replica that a transfer uses, once, in the middle."""

    def __init__(self, replicas: Replicas, *, phase: str, at_bytes: int) -> None:
        self._replicas = replicas
        self._phase = phase
        self._at_bytes = at_bytes
        self._before = [self._traffic(proxy) for proxy in replicas.proxies]
        self.killed: int | None = None
        self.offsets: list[int] = []

    def __call__(self, phase: str, done: int, size: int) -> None:
        """Remembers the progress of the phase; kills at the given byte."""
        if phase != self._phase:
            return
        if not self.offsets:
            self._before = [self._traffic(proxy) for proxy in self._replicas.proxies]
        self.offsets.append(done)
        if done >= self._at_bytes and self.killed is None:
            self.killed = self._replicas.kill_busiest(
                lambda proxy: self._traffic(proxy) - self._before[self._replicas.proxies.index(proxy)]
            )

    def _traffic(self, proxy: TcpProxy) -> int:
        return (proxy.up if self._phase == "push" else proxy.down).num_bytes


@pytest.mark.parametrize("form", ["list", "name"])
def test_push_goes_on_at_another_replica(replicas: Replicas, form: str) -> None:
    """A push whose replica is killed gets its receipt elsewhere, and few bytes go over the wire twice."""
    killing = Killing(replicas, phase="push", at_bytes=15 << 20)
    with SiloClient(
        replicas.address(form), federation=NAME, credentials=replicas.credentials, progress=killing
    ) as client:
        current = client.round()
        local = {name: tensor + 0.001 for name, tensor in client.pull(current).items()}
        before = sum(proxy.up.num_bytes for proxy in replicas.proxies)
        receipt = client.push(current, local, num_examples=3)
        resent = sum(proxy.up.num_bytes for proxy in replicas.proxies) - before - receipt.payload_size_bytes
        assert client.push(current, local, num_examples=3) == receipt
        assert client.round(after_round=current.number, wait_seconds=20).number == current.number + 1
    assert killing.killed is not None
    replicas.restart(killing.killed)

    assert receipt.round == current.number
    assert resent <= MOST_RESENT


@pytest.mark.parametrize("form", ["list", "name"])
def test_pull_goes_on_at_another_replica(replicas: Replicas, form: str) -> None:
    """A pull whose replica is killed gives the same projector, and no byte reaches the silo twice."""
    killing = Killing(replicas, phase="pull", at_bytes=9 << 20)
    with SiloClient(
        replicas.address(form), federation=NAME, credentials=replicas.credentials, progress=killing
    ) as client:
        pulled = client.pull(client.round())
    assert killing.killed is not None
    replicas.restart(killing.killed)
    with SiloClient(replicas.processes[0].address, federation=NAME, credentials=replicas.credentials) as client:
        again = client.pull(client.round())

    assert killing.offsets == sorted(set(killing.offsets))
    assert all(torch.equal(again[name], pulled[name]) for name in again)


@pytest.mark.parametrize("form", ["list", "name"])
def test_one_replica_is_enough(replicas: Replicas, form: str) -> None:
    """With two of three replicas gone every call of silo and operator still succeeds."""
    for index in (0, 2):
        replicas.processes[index].kill()
    address = replicas.address(form)
    try:
        with SiloClient(address, federation=NAME, credentials=replicas.credentials) as client:
            assert [client.round().state.value for _ in range(5)] == ["running"] * 5
        with OperatorClient(address, credentials=replicas.processes[0].operator) as operator:
            assert [summary.federation for summary in operator.federations()] == [NAME]
        with OperatorClient(address, credentials=replicas.processes[0].operator) as operator:
            assert "ISTHMUS TOKEN" in operator.invite(NAME, "beta", replace=True)
            operator.revoke(NAME, "beta")  # or the round would wait for it
    finally:
        for index in (0, 2):
            replicas.restart(index)


def test_calls_go_round_among_the_replicas_of_a_name(replicas: Replicas) -> None:
    """Behind one name every replica takes its share of the calls of one silo."""
    before = [proxy.up.num_bytes for proxy in replicas.proxies]
    with SiloClient(replicas.address("name"), federation=NAME, credentials=replicas.credentials) as client:
        client.round()
        for _ in range(30):
            client.round()

    assert all(proxy.up.num_bytes > seen + 500 for proxy, seen in zip(replicas.proxies, before, strict=True))


def test_proxy_of_the_site_is_not_asked_for_this_machine(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of addresses of loopback is reached although the environment names an http_proxy that does not exist."""
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:9")
    with SiloClient(
        replicas.address("list"), federation=NAME, credentials=replicas.credentials, patience_seconds=0
    ) as client:
        assert client.round().federation == NAME
