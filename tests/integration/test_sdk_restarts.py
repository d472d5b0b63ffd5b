"""The SDK while a real aggregator dies and comes back: transfers go on, they do not start again."""

import threading
from collections.abc import Iterator

import pytest
import torch

from isthmus import SiloClient
from isthmus.chunks import SEGMENT_BYTES
from tests.large_federation import NAME, found_large
from tests.real_aggregator import RealAggregator, real_aggregator


class Breaking:
    """A progress callback that has the aggregator killed and started anew once, in the middle of a phase."""

    def __init__(self, aggregator: RealAggregator, *, phase: str, at_bytes: int) -> None:
        self._aggregator = aggregator
        self._phase = phase
        self._at_bytes = at_bytes
        self._restart: threading.Thread | None = None
        self.offsets: list[int] = []
        """Bytes done, in the order they were reported, of that phase."""

    def __call__(self, phase: str, done: int, size: int) -> None:
        """Remembers the progress; at the given byte, kills the aggregator."""
        if phase != self._phase:
            return
        self.offsets.append(done)
        if done >= self._at_bytes and self._restart is None:
            self._aggregator.kill()
            port = int(self._aggregator.address.rpartition(":")[2])
            self._restart = threading.Thread(target=self._aggregator.start, kwargs={"port": port})
            self._restart.start()

    def wait(self) -> None:
        """Until the new process serves."""
        assert self._restart is not None
        self._restart.join()


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAggregator]:
    """An aggregator with a federation of a projector of 21 MB and one silo, whose credentials lie beside its own."""
    with real_aggregator(tmp_path_factory.mktemp("aggregator")) as running:
        found_large(running.address, operator=running.operator)
        yield running


def test_push_goes_on_after_the_aggregator_was_killed(aggregator: RealAggregator) -> None:
    """A push through a SIGKILL of the aggregator gets its receipt, and durable segments are not sent again."""
    breaking = Breaking(aggregator, phase="push", at_bytes=19 << 20)
    with SiloClient(
        aggregator.address, federation=NAME, credentials=aggregator.folder / "alpha.pem", progress=breaking
    ) as client:
        current = client.round()
        local = {name: tensor + 0.001 for name, tensor in client.pull(current).items()}
        receipt = client.push(current, local, num_examples=3)
        breaking.wait()

        after_restart = next(
            late for early, late in zip(breaking.offsets, breaking.offsets[1:], strict=False) if late <= early
        )
        assert receipt.num_examples == 3
        assert after_restart > SEGMENT_BYTES
        assert client.round(after_round=current.number, wait_seconds=20).number == current.number + 1
        assert client.push(current, local, num_examples=3) == receipt


def test_pull_goes_on_after_the_aggregator_was_killed(aggregator: RealAggregator) -> None:
    """A pull through a SIGKILL of the aggregator gives the same projector, and no byte comes twice."""
    breaking = Breaking(aggregator, phase="pull", at_bytes=9 << 20)
    credentials = aggregator.folder / "alpha.pem"
    with SiloClient(aggregator.address, federation=NAME, credentials=credentials, progress=breaking) as client:
        pulled = client.pull(client.round())
        breaking.wait()
    with SiloClient(aggregator.address, federation=NAME, credentials=credentials) as client:
        again = client.pull(client.round())

    assert breaking.offsets == sorted(set(breaking.offsets))
    assert all(torch.equal(again[name], pulled[name]) for name in again)
