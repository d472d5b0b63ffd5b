"""What a call costs where there are many silos."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from aggregator.stores import open_store
from benchmarks.simulate.counting import CountingStore
from isthmus.credentials import save_credentials
from isthmus.operator_client import OperatorClient
from tests import pki
from tests.serving import Operator, serving


@pytest.fixture
def store() -> CountingStore:
    """All state, and how often it is asked."""
    return CountingStore(open_store("memory:"))


def cost(store: CountingStore, call: Callable[[], object]) -> Counter[str]:
    """What a call asks of the store."""
    before = store.counts.copy()
    call()
    return store.counts - before


def test_invitation_reads_no_other_silo(store: CountingStore, tmp_path: Path) -> None:
    """The operator's client reads as little for the thirtieth invitation as for the second."""
    save_credentials(tmp_path / "operator.pem", pki.operator().pem)
    with serving(store, advance_interval_seconds=60.0) as address:
        Operator(address).create()
        with OperatorClient(address, credentials=tmp_path / "operator.pem") as operator:
            reads = [
                cost(store, lambda number=number: operator.invite("harbour", f"silo-{number}"))["get"]  # type: ignore[misc]
                for number in range(30)
            ]

    assert reads[29] <= reads[1] + 10  # what the advancing loop, woken, reads meanwhile
