"""What most tests over real sockets start from: a replica over a store in memory, and federation harbour."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.stores import open_store
from aggregator.stores.contract import Store
from isthmus.secure_aggregation import session
from tests.masked_sites import worlds
from tests.serving import Operator, Silo, serving


@pytest.fixture
def store() -> Store:
    """All state."""
    return open_store("memory:")


@pytest.fixture
def address(store: Store) -> Iterator[str]:
    """A replica."""
    with serving(store) as address:
        yield address


@pytest.fixture
def operator(address: str) -> Operator:
    """The operator of federation harbour, whose rounds need two silos."""
    operator = Operator(address)
    operator.create()
    return operator


@pytest.fixture
def north(operator: Operator, address: str) -> Silo:
    """One of its silos."""
    return Silo(address, operator.invite("north"))


@pytest.fixture
def south(operator: Operator, address: str) -> Silo:
    """Another."""
    return Silo(address, operator.invite("south"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Starts replicas of federations with secure aggregation, whose questions follow each other quickly."""
    monkeypatch.setattr(session, "POLL_SECONDS", 0.05)
    with worlds(tmp_path) as start:
        yield start
