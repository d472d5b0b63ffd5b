"""The SDK before three real replicas of which any may die: transfers go on at another one, and nobody sees it."""

import os
from collections.abc import Iterator

import pytest
import torch

from isthmus import SiloClient
from isthmus.operator_client import OperatorClient
from tests.large_federation import NAME
from tests.proxied_replicas import Killing, Replicas, proxied_replicas

MOST_RESENT = 8 << 20
"""Bytes that one interruption may send twice: what a replica holds unstaged, and what is on its way to it."""


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Three replicas and a federation of one silo with a projector of 21 MB."""
    with proxied_replicas(tmp_path_factory.mktemp("aggregator")) as running:
        yield running


@pytest.mark.parametrize("form", ["list", "name"])
def test_push_goes_on_at_another_replica(replicas: Replicas, form: str) -> None:
    """A push whose replica is killed gets its receipt elsewhere, and few bytes go over the wire twice."""
    killing = Killing(replicas, phase="push", at_bytes=15 << 20)
    with SiloClient(
        replicas.address(form), federation=NAME, credentials=replicas.credentials, progress=killing
    ) as client:
        current = client.round()
        local = {name: tensor + 0.001 for name, tensor in client.pull(current).items()}
        before = replicas.num_bytes_up
        receipt = client.push(current, local, num_examples=3)
        resent = replicas.num_bytes_up - before - receipt.payload_size_bytes
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
            assert "beta" == operator.invite(NAME, "beta", replace=True).silo
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
